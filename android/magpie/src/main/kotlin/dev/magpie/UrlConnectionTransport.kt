package dev.magpie

import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.asExecutor
import kotlinx.coroutines.suspendCancellableCoroutine
import java.io.ByteArrayInputStream
import java.io.ByteArrayOutputStream
import java.io.EOFException
import java.io.IOException
import java.io.InputStream
import java.net.HttpRetryException
import java.net.HttpURLConnection
import java.net.ProtocolException
import java.net.URI
import kotlin.time.Duration

/**
 * Sends requests and downloads with Java's [HttpURLConnection], on the threads of [Dispatchers.IO].
 *
 * ```kotlin
 * val pinned = UrlConnectionTransport { (it as? HttpsURLConnection)?.sslSocketFactory = ours }
 * ```
 *
 * @param configure called with each connection before it is used, for example to set a socket factory
 */
public class UrlConnectionTransport(private val configure: (HttpURLConnection) -> Unit = {}) :
    HttpTransport,
    DownloadTransport {
    private val threads = Dispatchers.IO.asExecutor()

    override suspend fun send(request: HttpRequest): HttpReply = perform(request.url, request.timeout) { post(request) }

    override suspend fun get(request: DownloadRequest, receive: (DownloadReply) -> Unit): Unit =
        perform(request.url, request.timeout) {
            request.headers.forEach { (name, value) -> setRequestProperty(name, value) }
            configure(this)
            download(receive)
        }

    private fun HttpURLConnection.post(request: HttpRequest): HttpReply {
        requestMethod = "POST"
        doOutput = true
        // Streaming mode also stops Java from resending by itself: it does not keep the body.
        setFixedLengthStreamingMode(request.body.size)
        request.headers.forEach { (name, value) -> setRequestProperty(name, value) }
        configure(this)
        return exchange(request)
    }

    private suspend fun <T> perform(url: String, timeout: Duration, exchange: HttpURLConnection.() -> T): T {
        val attempt = Attempt(url, timeout, exchange)
        return suspendCancellableCoroutine { continuation ->
            // Not on the cancelling thread, which may be the main thread: closing a connection may do network I/O.
            continuation.invokeOnCancellation { threads.execute { attempt.giveUp() } }
            threads.execute { continuation.resumeWith(runCatching { attempt.perform() }) }
        }
    }
}

/** One request. It blocks a thread, which nobody waits for once the request is abandoned. */
private class Attempt<T>(
    private val url: String,
    private val timeout: Duration,
    private val work: HttpURLConnection.() -> T,
) {
    @Volatile
    private var connection: HttpURLConnection? = null

    @Volatile
    private var isGivenUp = false

    fun giveUp() {
        isGivenUp = true
        connection?.disconnect()
    }

    fun perform(): T {
        val opened = URI(url).toURL().openConnection() as HttpURLConnection
        connection = opened
        var isDone = false
        try {
            val milliseconds = timeout.inWholeMilliseconds.coerceIn(1, Int.MAX_VALUE.toLong()).toInt()
            opened.instanceFollowRedirects = false
            opened.useCaches = false
            opened.connectTimeout = milliseconds
            opened.readTimeout = milliseconds
            if (isGivenUp) throw IOException("the request was cancelled")
            return opened.work().also { isDone = true }
        } finally {
            // A connection whose response was read completely goes back to the pool.
            if (!isDone) opened.disconnect()
        }
    }
}

private fun HttpURLConnection.exchange(request: HttpRequest): HttpReply = try {
    outputStream.use { it.write(request.body) }
    val status = status()
    // Null for a 401, which Java would like to repeat with credentials.
    val body = body(status)?.use { it.readAtMost(request.maxReplyBytes) }
    // Java reports a truncated body as a normal end of the stream.
    if (body != null && body.size < contentLengthLong) throw EOFException("the body ended after ${body.size} bytes")
    HttpReply(status, getHeaderField("retry-after"), body ?: ByteArray(0))
} catch (e: HttpRetryException) {
    // A 401 in streaming mode, on JDKs that throw instead of returning a null stream.
    HttpReply(e.responseCode(), null, ByteArray(0))
}

private fun HttpURLConnection.download(receive: (DownloadReply) -> Unit) {
    val status = status()
    val body = body(status) ?: ByteArrayInputStream(ByteArray(0))
    body.use { receive(DownloadReply(status, getHeaderField("content-range"), it)) }
}

private fun HttpURLConnection.status(): Int {
    val status = responseCode
    if (status < 0) throw ProtocolException("no HTTP response")
    return status
}

private fun HttpURLConnection.body(status: Int): InputStream? =
    if (status >= HttpURLConnection.HTTP_BAD_REQUEST) errorStream else inputStream

private fun InputStream.readAtMost(limit: Int): ByteArray {
    val body = ByteArrayOutputStream()
    val buffer = ByteArray(1 shl 14)
    while (true) {
        val count = read(buffer)
        if (count < 0) return body.toByteArray()
        if (body.size() + count > limit) throw ReplyTooLargeException()
        body.write(buffer, 0, count)
    }
}
