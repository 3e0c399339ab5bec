package dev.magpie

import java.io.IOException
import java.io.InputStream
import kotlin.time.Duration

/**
 * Downloads the files of a [ReleaseServer]. The library decides what to fetch, from which offset, and when to try
 * again.
 *
 * ```kotlin
 * val transport = DownloadTransport { request, receive ->
 *     val builder = Request.Builder().url(request.url)
 *     request.headers.forEach { (name, value) -> builder.header(name, value) }
 *     client.newCall(builder.build()).executeAsync().use { response ->
 *         receive(DownloadReply(response.code, response.header("content-range"), response.body.byteStream()))
 *     }
 * }
 * ```
 */
public fun interface DownloadTransport {
    /**
     * Gets what a URL names, and passes the response to [receive], whatever its status, on a thread that may block.
     * [receive] reads as much of the body as it accepts, and throws if the rest is of no use: pass its exceptions on,
     * and close the connection after it. An abandoned request is cancelled; close its connection then, too.
     *
     * Implementations must neither follow redirects nor retry, nor unpack the body.
     *
     * @throws IOException if there is no response
     */
    public suspend fun get(request: DownloadRequest, receive: (DownloadReply) -> Unit)
}

/**
 * A file to get.
 *
 * @property url the file's URL
 * @property headers all headers that are needed
 * @property timeout how long connecting, and each wait for more bytes, may take; the library abandons the request
 * after it
 */
public class DownloadRequest(
    public val url: String,
    public val headers: Map<String, String> = emptyMap(),
    public val timeout: Duration = Duration.INFINITE,
)

/**
 * A response.
 *
 * @property status the HTTP status code
 * @property contentRange the value of the `Content-Range` header
 * @property body the body, as it comes
 */
public class DownloadReply(public val status: Int, public val contentRange: String?, public val body: InputStream)
