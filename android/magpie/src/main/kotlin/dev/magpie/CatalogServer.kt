package dev.magpie

import java.net.URI
import dev.magpie.internal.Server as RustServer

/**
 * A server with the full catalogue, and what is known of it: how fast it answers, whether it is down. Keep one for each
 * server as long as the app runs; any number of searches may share it.
 *
 * ```kotlin
 * val shop = CatalogServer("https://shop.example", token = "…")
 * val results = engine.search(photo, shop, AskOptions(context.connectivity))
 * ```
 *
 * Only the embedding of the photo, rounded to a byte a coordinate, and the search's options are sent. Redirects are not
 * followed: they would carry both, and the token, to a server that nobody named. On Android an app needs the permission
 * `INTERNET` for this.
 *
 * @param url of the server, such as `https://shop.example` or `http://10.0.2.2:8080`, without query and user
 * @param token sent as `Authorization: Bearer`, where the server wants one; over `http` without encryption. It is never
 * logged.
 * @param transport what sends requests, to be replaced by an app that has an HTTP client of its own
 * @throws IllegalArgumentException where the URL is none of a server, or the token cannot be a header's value
 * @throws MagpieException.Unsupported where there is no native library for this CPU
 */
public class CatalogServer(
    url: String,
    private val token: String? = null,
    internal val transport: HttpTransport = UrlConnectionTransport(),
) {
    init {
        require(token == null || token.all { it in '!'..'~' }) { "the token has characters that no header may have" }
    }

    private val base = checked(url)

    internal val rust: RustServer = translated { RustServer() }

    /** A request to this server. */
    internal fun request(call: RustCall): HttpRequest {
        val authorization = token?.let { mapOf("authorization" to "Bearer $it") }.orEmpty()
        return HttpRequest(base + call.path, call.headers + authorization, call.body, call.timeout)
    }

    override fun toString(): String = "CatalogServer($base)"

    private companion object {
        /** The URL without its last slash. What is wrong with it is not quoted: it may hold a password. */
        fun checked(url: String): String {
            val parsed = runCatching { URI(url) }.getOrNull()
            val isServer = parsed?.scheme?.lowercase() in setOf("http", "https") && !parsed?.host.isNullOrEmpty()
            val more = listOf(parsed?.rawQuery, parsed?.rawFragment, parsed?.rawUserInfo)
            require(isServer && more.all { it == null }) {
                "no URL of a server: expected https://HOST or http://HOST:PORT"
            }
            return url.trimEnd('/')
        }
    }
}
