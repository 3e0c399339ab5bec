import Foundation
internal import MagpieGenerated

/// Runs blocking calls on its own threads, because the threads that tasks share must not block.
struct Calls: Sendable {
    private let queue: OperationQueue

    init(width: Int) {
        queue = OperationQueue()
        queue.name = "magpie"
        queue.qualityOfService = .userInitiated
        queue.maxConcurrentOperationCount = max(width, 1)
    }

    /// Queues `call` and runs it. Cancelling the task stops the call between two of its stages, or before it starts.
    func run<Value: Sendable>(
        _ call: @escaping @Sendable (Cancellation) throws -> Value
    ) async throws(MagpieError) -> Value {
        let cancellation = Cancellation()
        let result: Result<Value, MagpieError> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                queue.addOperation {
                    continuation.resume(returning: Calls.result(of: call, cancellation))
                }
            }
        } onCancel: {
            cancellation.cancel()
        }
        return try result.get()
    }

    private static func result<Value>(
        of call: (Cancellation) throws -> Value, _ cancellation: Cancellation
    ) -> Result<Value, MagpieError> {
        // Not every call checks for cancellation before it starts.
        guard !cancellation.isCancelled() else { return .failure(.cancelled) }
        return Result { try call(cancellation) }.mapError(MagpieError.init)
    }
}
