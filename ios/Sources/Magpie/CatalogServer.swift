import Foundation
internal import MagpieGenerated

/// A server with the full catalogue, and what earlier requests revealed about it: its latency and whether it is down.
///
/// Keep one instance per server for the lifetime of the app; any number of searches may share it.
///
/// ```swift
/// let shop = try CatalogServer(url: URL(string: "https://shop.example")!, token: token)
/// let results = try await engine.search(photo: photo, server: shop, asking: AskOptions(monitor.connectivity))
/// ```
///
/// Only the embedding of the photo, rounded to one byte per coordinate, and the search options are sent. Redirects are
/// not followed, because they would forward this data and the token to a server that the app did not choose.
public final class CatalogServer: Sendable {
    /// The URL given to the initialiser.
    public let url: URL

    let transport: any HTTPTransport
    let generated: MagpieGenerated.ServerState
    /// Replies are parsed on these threads, because the threads that tasks share must not block.
    let calls = Calls(width: 2)
    private let base: String
    private let token: String?

    /// Creates a server about which nothing is known yet.
    ///
    /// - Parameters:
    ///   - url: The server's URL, such as `https://shop.example`, without query and user info.
    ///   - token: Sent as `Authorization: Bearer` if not nil; unencrypted over `http`. It is never logged.
    ///   - transport: Sends the requests. Replace it to use the app's own HTTP client.
    /// - Throws: ``MagpieError/request(reason:)`` if `url` is not the URL of a server, or `token` is not a valid header
    ///   value.
    public init(
        url: URL, token: String? = nil, transport: any HTTPTransport = URLSessionTransport()
    ) throws(MagpieError) {
        base = try serverURL(url)
        guard token?.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) ?? true else {
            throw .request(reason: "the token has characters that a header cannot hold")
        }
        self.url = url
        self.token = token
        self.transport = transport
        generated = MagpieGenerated.ServerState()
    }

    /// Builds a request to this server.
    func request(path: String, headers: [HttpHeader], body: Data, timeout: Duration) -> HTTPRequest? {
        guard let url = URL(string: base + path) else { return nil }
        var fields = Dictionary(headers.map { ($0.name, $0.value) }) { _, last in last }
        fields["authorization"] = token.map { "Bearer \($0)" }
        return HTTPRequest(
            url: url, headers: fields, body: body, timeout: timeout, maxReplyBytes: Int(maxReplyBytes()))
    }
}

/// Returns the URL of a server, or of a folder of it, without trailing slashes.
func serverURL(_ url: URL) throws(MagpieError) -> String {
    // The error does not quote the URL: it may contain a password.
    guard let parts = URLComponents(url: url, resolvingAgainstBaseURL: true),
        ["http", "https"].contains(parts.scheme?.lowercased()), parts.host?.isEmpty == false,
        parts.query == nil, parts.fragment == nil, parts.user == nil
    else { throw .request(reason: "not the URL of a server: expected https://HOST or http://HOST:PORT") }
    let text = url.absoluteString
    return String(text.prefix(text.count - text.reversed().prefix { $0 == "/" }.count))
}
