import Foundation

#if canImport(FoundationNetworking)
import FoundationNetworking
#endif

/// Sends requests with its own `URLSession`.
public final class URLSessionTransport: HTTPTransport {
    private let session: URLSession
    private let responses = Responses()

    /// Creates a session with this configuration. The default is ephemeral, without cookies, cache and credentials.
    public init(configuration: URLSessionConfiguration? = nil) {
        let chosen = configuration ?? .ephemeral
        if configuration == nil {
            chosen.httpCookieStorage = nil
            chosen.urlCache = nil
            chosen.urlCredentialStorage = nil
        }
        session = URLSession(configuration: chosen, delegate: responses, delegateQueue: nil)
    }

    deinit {
        // The session retains its delegate until it is invalidated.
        session.finishTasksAndInvalidate()
    }

    /// Sends a request and returns the response, whatever its status.
    public func send(_ request: HTTPRequest) async throws -> HTTPReply {
        // This is the timeout between two packets; the caller watches the total time.
        var sent = URLRequest(url: request.url, timeoutInterval: request.timeout / .seconds(1))
        sent.httpMethod = request.method.rawValue
        if request.method == .post { sent.httpBody = request.body }
        for (name, value) in request.headers { sent.setValue(value, forHTTPHeaderField: name) }
        let (task, responses) = (session.dataTask(with: sent), responses)
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                responses.await(task, atMost: request.maxReplyBytes, continuation)
                if Task.isCancelled { responses.giveUp(task) } else { task.resume() }
            }
        } onCancel: {
            responses.giveUp(task)
        }
    }
}

/// Collects the responses of the session's tasks.
private final class Responses: NSObject, URLSessionDataDelegate, @unchecked Sendable {
    private struct Response {
        let continuation: CheckedContinuation<HTTPReply, any Error>
        let limit: Int
        var body = Data()
    }

    // Accessed only while the lock is held.
    private var waiting: [Int: Response] = [:]
    private let lock = NSLock()

    func await(_ task: URLSessionTask, atMost limit: Int, _ continuation: CheckedContinuation<HTTPReply, any Error>) {
        lock.withLock { waiting[task.taskIdentifier] = Response(continuation: continuation, limit: limit) }
    }

    func giveUp(_ task: URLSessionTask) {
        end(task, .failure(CancellationError()))
        task.cancel()
    }

    /// Resumes the continuation once; later calls have no effect.
    private func end(_ task: URLSessionTask, _ result: Result<HTTPReply, any Error>) {
        let response = lock.withLock { waiting.removeValue(forKey: task.taskIdentifier) }
        response?.continuation.resume(with: result)
    }

    func urlSession(
        _ session: URLSession, task: URLSessionTask, willPerformHTTPRedirection response: HTTPURLResponse,
        newRequest request: URLRequest, completionHandler: @escaping @Sendable (URLRequest?) -> Void
    ) {
        completionHandler(nil)
    }

    func urlSession(_ session: URLSession, dataTask: URLSessionDataTask, didReceive data: Data) {
        let isTooLarge = lock.withLock { () -> Bool in
            guard var response = waiting.removeValue(forKey: dataTask.taskIdentifier) else { return false }
            // Out of the dictionary, so that appending does not copy the body.
            response.body.append(data)
            let isTooLarge = response.body.count > response.limit
            if isTooLarge { response.body = Data() }
            waiting[dataTask.taskIdentifier] = response
            return isTooLarge
        }
        if isTooLarge {
            end(dataTask, .failure(HTTPTrouble.tooLarge))
            dataTask.cancel()
        }
    }

    func urlSession(_ session: URLSession, task: URLSessionTask, didCompleteWithError error: (any Error)?) {
        if let error { return end(task, .failure(error)) }
        guard let head = task.response as? HTTPURLResponse else { return end(task, .failure(HTTPTrouble.broken)) }
        let body = lock.withLock { waiting[task.taskIdentifier]?.body ?? Data() }
        let retryAfter = head.value(forHTTPHeaderField: "retry-after")
        let contentRange = head.value(forHTTPHeaderField: "content-range")
        end(
            task,
            .success(
                HTTPReply(status: head.statusCode, retryAfter: retryAfter, contentRange: contentRange, body: body)))
    }
}
