import Foundation
internal import MagpieGenerated

#if canImport(FoundationNetworking)
import FoundationNetworking
#endif

/// Sends single requests to a ``CatalogServer``. When to send, to send again and to give up is decided by the library.
///
/// ``URLSessionTransport`` is the usual one.
public protocol HTTPTransport: Sendable {
    /// Posts a request and gives the response, with any status.
    ///
    /// Its task is cancelled where the request is given up: the connection should then be closed. It must not follow
    /// redirects, and must not send again by itself.
    ///
    /// - Throws: ``HTTPTrouble`` where there is no response, or a `URLError`, which is understood; anything else counts as
    ///   ``HTTPTrouble/broken``.
    func send(_ request: HTTPRequest) async throws -> HTTPReply
}

/// A request to post.
public struct HTTPRequest: Sendable {
    /// Where to.
    public let url: URL
    /// All that it needs, with the token where there is one: not for logs.
    public let headers: [String: String]
    /// JSON, in UTF-8.
    public let body: Data
    /// How long the response may take with all of its body; it is then given up in any case.
    public let timeout: Duration
    /// The longest body of a response that is of use, in bytes.
    public let maxReplyBytes: Int
}

/// A response.
public struct HTTPReply: Sendable {
    /// The HTTP status.
    public var status: Int
    /// The header `retry-after`.
    public var retryAfter: String?
    /// All of the body.
    public var body: Data

    /// A response with these.
    public init(status: Int, retryAfter: String? = nil, body: Data) {
        self.status = status
        self.retryAfter = retryAfter
        self.body = body
    }
}

/// Why there is no response.
public enum HTTPTrouble: Error, Sendable, Hashable {
    /// No connection: no route, no name, refused, or no TLS where there has to be.
    case unreachable
    /// The server's certificate is not one that is trusted, is for another name, or is not valid now.
    case untrusted
    /// The connection ended before the response did.
    case broken
    /// Its time was over.
    case timedOut
    /// The body is longer than ``HTTPRequest/maxReplyBytes``.
    case tooLarge
}

extension HTTPTrouble {
    /// What an error of a transport says of the server.
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
