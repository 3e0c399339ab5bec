package dev.magpie

import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.asExecutor
import kotlinx.coroutines.suspendCancellableCoroutine
import java.io.ByteArrayOutputStream
import java.io.EOFException
import java.io.IOException
import java.io.InputStream
import java.net.HttpRetryException
import java.net.HttpURLConnection
import java.net.ProtocolException
import java.net.URI

/**
 * Sends requests with Java's [HttpURLConnection], on the threads of [Dispatchers.IO].
 *
 * ```kotlin
 * val pinned = UrlConnectionTransport { (it as? HttpsURLConnection)?.sslSocketFactory = ours }
 * ```
 *
 * @param configure called with each connection before it is used, for example to set a socket factory
 */
public class UrlConnectionTransport(private val configure: (HttpURLConnection) -> Unit = {}) : HttpTransport {
    private val threads = Dispatchers.IO.asExecutor()

    override suspend fun send(request: HttpRequest): HttpReply {
        val attempt = Attempt(request, configure)
        return suspendCancellableCoroutine { continuation ->
            // Not on the cancelling thread, which may be the main thread: closing a connection may do network I/O.
            continuation.invokeOnCancellation { threads.execute { attempt.giveUp() } }
            threads.execute { continuation.resumeWith(runCatching { attempt.perform() }) }
        }
    }
}

/** One request. It blocks a thread, which nobody waits for once the request is abandoned. */
private class Attempt(private val request: HttpRequest, private val configure: (HttpURLConnection) -> Unit) {
    @Volatile
    private var connection: HttpURLConnection? = null

    @Volatile
    private var isGivenUp = false

    fun giveUp() {
        isGivenUp = true
        connection?.disconnect()
    }

    fun perform(): HttpReply {
        val opened = URI(request.url).toURL().openConnection() as HttpURLConnection
        connection = opened
        var isDone = false
        try {
            prepare(opened)
            if (isGivenUp) throw IOException("the request was cancelled")
            return opened.exchange().also { isDone = true }
        } finally {
            // A connection whose response was read completely goes back to the pool.
            if (!isDone) opened.disconnect()
        }
    }

    private fun prepare(connection: HttpURLConnection) {
        val timeout = request.timeout.inWholeMilliseconds.coerceIn(1, Int.MAX_VALUE.toLong()).toInt()
        connection.requestMethod = "POST"
        connection.doOutput = true
        connection.instanceFollowRedirects = false
        connection.useCaches = false
        connection.connectTimeout = timeout
        connection.readTimeout = timeout
        // Streaming mode also stops Java from resending by itself: it does not keep the body.
        connection.setFixedLengthStreamingMode(request.body.size)
        request.headers.forEach { (name, value) -> connection.setRequestProperty(name, value) }
        configure(connection)
    }

    private fun HttpURLConnection.exchange(): HttpReply = try {
        outputStream.use { it.write(request.body) }
        val status = responseCode
        if (status < 0) throw ProtocolException("no HTTP response")
        val stream = if (status >= HttpURLConnection.HTTP_BAD_REQUEST) errorStream else inputStream
        // Null for a 401, which Java would like to repeat with credentials.
        val body = stream?.use { it.readAtMost(request.maxReplyBytes) }
        // Java reports a truncated body as a normal end of the stream.
        if (body != null && body.size < contentLengthLong) throw EOFException("the body ended after ${body.size} bytes")
        HttpReply(status, getHeaderField("retry-after"), body ?: ByteArray(0))
    } catch (e: HttpRetryException) {
        // A 401 in streaming mode, on JDKs that throw instead of returning a null stream.
        HttpReply(e.responseCode(), null, ByteArray(0))
    }

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
}
