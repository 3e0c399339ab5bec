import Foundation
internal import MagpieGenerated

/// Runs calls that block, on threads of its own: those that tasks share are for work that does not wait.
struct Calls: Sendable {
    private let queue: OperationQueue

    init(width: Int) {
        queue = OperationQueue()
        queue.name = "magpie"
        queue.qualityOfService = .userInitiated
        queue.maxConcurrentOperationCount = max(width, 1)
    }

    /// Runs `call` when it is its turn. Cancelling the task cancels the call, between two of its stages, or before it
    /// starts.
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
        // Not every call looks at it before it starts.
        guard !cancellation.isCancelled() else { return .failure(.cancelled) }
        return Result { try call(cancellation) }.mapError(MagpieError.init)
    }
}
