import Foundation
internal import MagpieGenerated

/// Where a release is published: the folder that `magpie publish` wrote, on a web server or a content delivery network.
///
/// ```swift
/// let server = try ReleaseServer(url: URL(string: "https://shop.example/release")!)
/// ```
///
/// Redirects are refused: signatures protect the files, but do not keep the app's users from being led to another server.
public struct ReleaseServer: Sendable {
    /// The URL given to the initialiser.
    public let url: URL

    let transport: any HTTPTransport
    private let headers: [String: String]
    private let base: String

    /// Describes a server. Sends nothing.
    ///
    /// - Parameters:
    ///   - url: The URL of the release's folder, without query and user info.
    ///   - headers: Sent with each request, such as a token for a private release. They are never logged.
    ///   - transport: Sends the requests. Replace it to use the app's own HTTP client.
    /// - Throws: ``MagpieError/request(reason:)`` if `url` is not such a URL.
    public init(
        url: URL, headers: [String: String] = [:], transport: any HTTPTransport = URLSessionTransport()
    ) throws(MagpieError) {
        base = try serverURL(url)
        self.url = url
        self.headers = headers
        self.transport = transport
    }

    /// The URL of a file of the release, as text.
    func address(_ path: String) -> String {
        "\(base)/\(path)"
    }

    func url(_ path: String) throws(MagpieError) -> URL {
        guard let url = URL(string: address(path)) else { throw .request(reason: "'\(path)' is not a path") }
        return url
    }

    fileprivate func request(
        _ path: String, _ range: Range<UInt64>?, timeout: Duration, atMost limit: Int
    ) throws(MagpieError) -> HTTPRequest {
        // Unpacking a body would make lengths and offsets meaningless.
        var fields = ["accept-encoding": "identity"]
        fields["range"] = range.map { "bytes=\($0.lowerBound)-\($0.upperBound - 1)" }
        fields.merge(headers) { ours, _ in ours }
        return HTTPRequest(
            url: try url(path), method: .get, headers: fields, timeout: timeout, maxReplyBytes: limit)
    }
}

/// What a request for a piece of a file brought.
enum Piece: Sendable {
    case bytes(Data, offset: UInt64)
    /// Nothing, but it may help to ask again.
    case nothing(reason: String, timedOut: Bool)
}

/// The single requests of an update.
struct ReleaseRequests: Sendable {
    let server: ReleaseServer
    /// How long a request may take.
    let patience: Duration

    /// How often a request that brings nothing is sent.
    static let tries = 3
    /// Without ranges, a file is in memory as a whole: no larger one is taken.
    private static let mostWithoutRanges: UInt64 = 64 << 20

    /// Waits before the next try: longer after each failure.
    static func pause(after failures: Int) async throws(MagpieError) {
        do { try await Task.sleep(for: .milliseconds(250) * max(failures, 1)) } catch { throw .cancelled }
    }

    /// Fetches a manifest or keys document; nil if the server does not have it.
    func document(_ path: String) async throws(MagpieError) -> Data? {
        let limit = Int(maxManifestBytes())
        var failures = 0
        while true {
            let reason: String
            switch try await get(path, nil, atMost: limit) {
            case .success(let reply) where reply.status == 200: return reply.body
            case .success(let reply) where [404, 410].contains(reply.status): return nil
            case .success(let reply): reason = try passing(reply.status, path)
            case .failure(let trouble): reason = try passing(trouble, path, limit)
            }
            failures += 1
            guard failures < Self.tries else { throw failure(path, reason) }
            try await Self.pause(after: failures)
        }
    }

    /// Fetches a piece of a file of `length` bytes.
    func piece(_ path: String, _ range: Range<UInt64>, of length: UInt64) async throws(MagpieError) -> Piece {
        // All of the file may come, whatever was asked for.
        let limit = Int(clamping: max(min(length, Self.mostWithoutRanges), UInt64(range.count)))
        switch try await get(path, range, atMost: limit) {
        case .success(let reply) where [200, 206].contains(reply.status) && reply.body.isEmpty:
            return .nothing(reason: "no bytes came", timedOut: false)
        case .success(let reply) where reply.status == 200: return .bytes(reply.body, offset: 0)
        case .success(let reply) where reply.status == 206:
            guard let begin = reply.begin, begin != range.lowerBound else {
                return .bytes(reply.body, offset: range.lowerBound)
            }
            return .nothing(reason: "bytes from \(begin), asked for \(range.lowerBound)", timedOut: false)
        case .success(let reply): return .nothing(reason: try passing(reply.status, path), timedOut: false)
        case .failure(let trouble):
            return .nothing(reason: try passing(trouble, path, limit), timedOut: trouble == .timedOut)
        }
    }

    func failure(_ path: String, _ reason: String) -> MagpieError {
        .download(reason: "\(server.address(path)): \(reason)")
    }

    /// Says why a response is of no use, if it may help to ask again; throws if it does not.
    private func passing(_ status: Int, _ path: String) throws(MagpieError) -> String {
        switch status {
        case 408, 425, 429, 500...599: return "status \(status)"
        case 300...399: throw failure(path, "redirected (status \(status)), which is refused")
        default: throw failure(path, "not available: status \(status)")
        }
    }

    private func passing(_ trouble: HTTPTrouble, _ path: String, _ limit: Int) throws(MagpieError) -> String {
        switch trouble {
        case .unreachable: return "the server cannot be reached"
        case .broken: return "the connection broke"
        case .timedOut: return "no answer within \(patience)"
        case .untrusted: throw failure(path, "the server's certificate is not trusted")
        case .tooLarge: throw failure(path, "more than \(limit) bytes")
        }
    }

    private func get(
        _ path: String, _ range: Range<UInt64>?, atMost limit: Int
    ) async throws(MagpieError) -> Result<HTTPReply, HTTPTrouble> {
        let request = try server.request(path, range, timeout: patience, atMost: limit)
        let (replies, feed) = AsyncStream.makeStream(of: Result<HTTPReply, HTTPTrouble>.self)
        let transport = server.transport
        // Not awaited: a transport that ignores cancellation must not delay the end of the update.
        let sending = Task {
            do {
                let reply = try await transport.send(request)
                feed.yield(reply.body.count > limit ? .failure(.tooLarge) : .success(reply))
            } catch {
                feed.yield(.failure(HTTPTrouble(error)))
            }
        }
        let clock = after(patience) { feed.yield(.failure(.timedOut)) }
        defer {
            sending.cancel()
            clock.cancel()
        }
        for await reply in replies { return reply }
        // The stream ends only if the task is cancelled.
        throw .cancelled
    }
}

extension HTTPReply {
    /// Where the bytes of the body begin in the file, if the server says so.
    fileprivate var begin: UInt64? {
        contentRange?.firstMatch(of: /^bytes (\d+)-/).flatMap { UInt64($0.1) }
    }
}
