import Foundation
internal import MagpieGenerated

/// A server with the full catalogue, and what is known of it: how fast it answers, whether it is down.
///
/// Keep one for each server as long as the app runs; any number of searches may share it.
///
/// ```swift
/// let shop = try CatalogServer(url: URL(string: "https://shop.example")!, token: token)
/// let results = try await engine.search(photo: photo, server: shop, asking: AskOptions(monitor.connectivity))
/// ```
///
/// Only the embedding of the photo, rounded to a byte a coordinate, and the search's options are sent. Redirects are not
/// followed: they would carry both, and the token, to a server that nobody named.
public final class CatalogServer: Sendable {
    /// What was given.
    public let url: URL

    let transport: any HTTPTransport
    let generated: MagpieGenerated.Server
    /// Replies are read here, and not on threads that tasks share.
    let calls = Calls(width: 2)
    private let base: String
    private let token: String?

    /// A server of which nothing is known.
    ///
    /// - Parameters:
    ///   - url: Such as `https://shop.example`, without query and user.
    ///   - token: Sent as `Authorization: Bearer`, where the server wants one; over `http` without encryption. It is
    ///     never logged.
    ///   - transport: What sends requests, to be replaced by an app that has an HTTP client of its own.
    /// - Throws: ``MagpieError/request(reason:)`` where the URL is none of a server, or the token cannot be a header's
    ///   value.
    public init(
        url: URL, token: String? = nil, transport: any HTTPTransport = URLSessionTransport()
    ) throws(MagpieError) {
        // What is wrong is not quoted: it may hold a password.
        guard let parts = URLComponents(url: url, resolvingAgainstBaseURL: true),
            ["http", "https"].contains(parts.scheme?.lowercased()), parts.host?.isEmpty == false,
            parts.query == nil, parts.fragment == nil, parts.user == nil
        else { throw .request(reason: "no URL of a server: expected https://HOST or http://HOST:PORT") }
        guard token?.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) ?? true else {
            throw .request(reason: "the token has characters that no header may have")
        }
        self.url = url
        self.token = token
        self.transport = transport
        let text = url.absoluteString
        base = String(text.prefix(text.count - text.reversed().prefix { $0 == "/" }.count))
        generated = MagpieGenerated.Server()
    }

    /// A request to this server.
    func request(path: String, headers: [HttpHeader], body: Data, timeout: Duration) -> HTTPRequest? {
        guard let url = URL(string: base + path) else { return nil }
        var fields = Dictionary(headers.map { ($0.name, $0.value) }) { _, last in last }
        fields["authorization"] = token.map { "Bearer \($0)" }
        return HTTPRequest(
            url: url, headers: fields, body: body, timeout: timeout, maxReplyBytes: Int(maxReplyBytes()))
    }
}
