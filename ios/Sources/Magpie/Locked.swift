import Foundation

/// A value that any thread may read and replace. The standard library's `Mutex` needs newer systems.
final class Locked<Value: Sendable>: @unchecked Sendable {
    // Accessed only while the lock is held.
    private var stored: Value
    private let lock = NSLock()

    init(_ value: Value) {
        stored = value
    }

    var value: Value {
        lock.withLock { stored }
    }

    /// Changes the value while the lock is held: of two callers, the last one wins.
    func change<Result>(_ change: (inout Value) -> Result) -> Result {
        lock.withLock { change(&stored) }
    }

    func set(_ value: Value) {
        // The old value is released after the lock.
        _ = lock.withLock { () -> Value in
            defer { stored = value }
            return stored
        }
    }
}
