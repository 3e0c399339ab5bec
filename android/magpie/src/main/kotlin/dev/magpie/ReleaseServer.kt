package dev.magpie

import java.net.URI
import kotlin.time.Duration

/**
 * Where a release is published: the folder that `magpie publish` wrote, on a web server or a content delivery network.
 *
 * ```kotlin
 * val server = ReleaseServer("https://shop.example/release")
 * ```
 *
 * Redirects are refused: the signature protects the files, but not the app's users from being led to another server. On
 * Android the app needs the permission `INTERNET`.
 *
 * @param url the folder's URL, without query and user info
 * @param headers sent with each request, such as a token for a private release; never logged
 * @param transport performs the requests; replace it to use the app's own HTTP client
 * @throws IllegalArgumentException if [url] is not such a URL
 */
public class ReleaseServer(
    url: String,
    private val headers: Map<String, String> = emptyMap(),
    internal val transport: DownloadTransport = UrlConnectionTransport(),
) {
    private val base = serverUrl(url)

    /** Builds a request for a file of the release. */
    internal fun request(path: String, range: String?, patience: Duration): DownloadRequest {
        // A transport that unpacks would make lengths and offsets meaningless.
        val usual = mapOf("accept-encoding" to "identity", "user-agent" to "magpie")
        val ranged = range?.let { mapOf("range" to it) }.orEmpty()
        return DownloadRequest("$base/$path", headers + usual + ranged, patience)
    }

    override fun toString(): String = "ReleaseServer($base)"
}

/**
 * Returns the URL of a server or a folder of it without trailing slashes. The error does not quote the URL: it may
 * contain a password.
 */
internal fun serverUrl(url: String): String {
    val parsed = runCatching { URI(url) }.getOrNull()
    val isServer = parsed?.scheme?.lowercase() in setOf("http", "https") && !parsed?.host.isNullOrEmpty()
    val more = listOf(parsed?.rawQuery, parsed?.rawFragment, parsed?.rawUserInfo)
    require(isServer && more.all { it == null }) {
        "not the URL of a server: expected https://HOST or http://HOST:PORT"
    }
    return url.trimEnd('/')
}
