package dev.magpie

import dev.magpie.internal.ServerState as RustServerState

/**
 * A server with the full catalogue, and what earlier requests revealed about it: its latency and whether it is down.
 * Keep one instance per server for the lifetime of the app; any number of searches may share it.
 *
 * ```kotlin
 * val shop = CatalogServer("https://shop.example", token = "…")
 * val results = engine.search(photo, shop, AskOptions(context.connectivity))
 * ```
 *
 * Only the embedding of the photo, rounded to one byte per coordinate, and the search options are sent. Redirects are
 * not followed, because they would forward this data and the token to a server that the app did not choose. On Android
 * the app needs the permission `INTERNET`.
 *
 * @param url the server's URL, such as `https://shop.example` or `http://10.0.2.2:8080`, without query and user info
 * @param token sent as `Authorization: Bearer` if not null; unencrypted over `http`. It is never logged.
 * @param transport sends the requests; replace it to use the app's own HTTP client
 * @throws IllegalArgumentException if [url] is not the URL of a server, or [token] is not a valid header value
 * @throws MagpieException.Unsupported if there is no native library for this CPU
 */
public class CatalogServer(
    url: String,
    private val token: String? = null,
    internal val transport: HttpTransport = UrlConnectionTransport(),
) {
    init {
        require(token == null || token.all { it in '!'..'~' }) { "the token has characters that a header cannot hold" }
    }

    private val base = serverUrl(url)

    internal val rust: RustServerState = translated { RustServerState() }

    /** Builds a request to this server. */
    internal fun request(call: RustCall): HttpRequest {
        val authorization = token?.let { mapOf("authorization" to "Bearer $it") }.orEmpty()
        return HttpRequest(base + call.path, call.headers + authorization, call.body, call.timeout)
    }

    override fun toString(): String = "CatalogServer($base)"
}
