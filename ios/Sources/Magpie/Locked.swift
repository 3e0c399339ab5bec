import Foundation

/// A value that any thread may read and replace. `Mutex` of the standard library needs newer systems.
final class Locked<Value: Sendable>: @unchecked Sendable {
    // Touched with the lock held only.
    private var stored: Value
    private let lock = NSLock()

    init(_ value: Value) {
        stored = value
    }

    var value: Value {
        lock.withLock { stored }
    }

    func set(_ value: Value) {
        // What was there is let go after the lock.
        _ = lock.withLock { () -> Value in
            defer { stored = value }
            return stored
        }
    }
}
