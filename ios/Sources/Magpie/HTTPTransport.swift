import Foundation
internal import MagpieGenerated

#if canImport(FoundationNetworking)
import FoundationNetworking
#endif

/// Sends single requests to a ``CatalogServer`` or a ``ReleaseServer``. The library decides when to send, retry and give
/// up.
///
/// ``URLSessionTransport`` is the default.
public protocol HTTPTransport: Sendable {
    /// Sends a request and returns the response, whatever its status.
    ///
    /// An abandoned request's task is cancelled; close its connection then. Implementations must neither follow
    /// redirects nor retry, nor change the body of a response to a `GET`.
    ///
    /// - Throws: ``HTTPTrouble`` if there is no response, or a `URLError`, which is translated. Any other error counts
    ///   as ``HTTPTrouble/broken``.
    func send(_ request: HTTPRequest) async throws -> HTTPReply
}

/// A request to send.
public struct HTTPRequest: Sendable {
    /// The target URL.
    public let url: URL
    /// `POST` asks a server for listings, `GET` gets a file of a release.
    public let method: Method
    /// All headers that are needed, including the token if there is one. Do not log them.
    public let headers: [String: String]
    /// UTF-8 encoded JSON; empty for `GET`.
    public let body: Data
    /// How long the response may take, body included. The library abandons the request after it.
    public let timeout: Duration
    /// The longest response body that is accepted, in bytes.
    public let maxReplyBytes: Int

    /// The method of a request; its raw value is what HTTP calls it.
    public enum Method: String, Sendable, Hashable {
        /// Gets a file.
        case get = "GET"
        /// Posts ``HTTPRequest/body``.
        case post = "POST"
    }

    /// Creates a request, for example to test a transport.
    public init(
        url: URL, method: Method = .post, headers: [String: String] = [:], body: Data = Data(), timeout: Duration,
        maxReplyBytes: Int
    ) {
        self.url = url
        self.method = method
        self.headers = headers
        self.body = body
        self.timeout = timeout
        self.maxReplyBytes = maxReplyBytes
    }
}

/// A response.
public struct HTTPReply: Sendable {
    /// The HTTP status code.
    public var status: Int
    /// The value of the `Retry-After` header.
    public var retryAfter: String?
    /// The value of the `Content-Range` header.
    public var contentRange: String?
    /// The complete body.
    public var body: Data

    /// Creates a response.
    public init(status: Int, retryAfter: String? = nil, contentRange: String? = nil, body: Data = Data()) {
        self.status = status
        self.retryAfter = retryAfter
        self.contentRange = contentRange
        self.body = body
    }
}

/// Why there is no response.
public enum HTTPTrouble: Error, Sendable, Hashable {
    /// No connection: no route, unknown host, connection refused, or no TLS on a port that should have it.
    case unreachable
    /// The server's certificate is not trusted, is for another host name, or is not valid now.
    case untrusted
    /// The connection broke before the response was complete.
    case broken
    /// The request timed out.
    case timedOut
    /// The body is longer than ``HTTPRequest/maxReplyBytes``.
    case tooLarge
}

extension HTTPTrouble {
    /// Maps a transport's error to what it reveals about the server.
    init(_ error: any Error) {
        switch error {
        case let trouble as HTTPTrouble: self = trouble
        case let error as URLError: self.init(error.code)
        default: self = .broken
        }
    }

    private init(_ code: URLError.Code) {
        switch code {
        case .timedOut: self = .timedOut
        case .dataLengthExceedsMaximum: self = .tooLarge
        case .serverCertificateUntrusted, .serverCertificateHasBadDate, .serverCertificateHasUnknownRoot,
            .serverCertificateNotYetValid:
            self = .untrusted
        case .cannotFindHost, .cannotConnectToHost, .dnsLookupFailed, .notConnectedToInternet, .secureConnectionFailed,
            .appTransportSecurityRequiresSecureConnection, .internationalRoamingOff, .callIsActive, .dataNotAllowed:
            self = .unreachable
        default: self = .broken
        }
    }

    var generated: Trouble {
        switch self {
        case .unreachable: .unreachable
        case .untrusted: .untrusted
        case .broken: .broken
        case .timedOut: .timedOut
        case .tooLarge: .tooLarge
        }
    }
}
