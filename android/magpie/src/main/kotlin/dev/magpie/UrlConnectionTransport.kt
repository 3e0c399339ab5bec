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
 * Sends requests with Java's [HttpURLConnection], on threads of [Dispatchers.IO].
 *
 * ```kotlin
 * val pinned = UrlConnectionTransport { (it as? HttpsURLConnection)?.sslSocketFactory = ours }
 * ```
 *
 * @param configure called for each connection before it is used: the place for socket factories of one's own
 */
public class UrlConnectionTransport(private val configure: (HttpURLConnection) -> Unit = {}) : HttpTransport {
    private val threads = Dispatchers.IO.asExecutor()

    override suspend fun send(request: HttpRequest): HttpReply {
        val attempt = Attempt(request, configure)
        return suspendCancellableCoroutine { continuation ->
            // Not on the thread that cancels, which may be the main one: closing a connection may write to it.
            continuation.invokeOnCancellation { threads.execute { attempt.giveUp() } }
            threads.execute { continuation.resumeWith(runCatching { attempt.perform() }) }
        }
    }
}

/** One request. It blocks a thread, whom nobody waits for once it is given up. */
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
            if (isGivenUp) throw IOException("given up")
            return opened.exchange().also { isDone = true }
        } finally {
            // A connection whose response was read can be used again.
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
        // Nor does Java send again by itself what it has not kept.
        connection.setFixedLengthStreamingMode(request.body.size)
        request.headers.forEach { (name, value) -> connection.setRequestProperty(name, value) }
        configure(connection)
    }

    private fun HttpURLConnection.exchange(): HttpReply = try {
        outputStream.use { it.write(request.body) }
        val status = responseCode
        if (status < 0) throw ProtocolException("no HTTP response")
        val stream = if (status >= HttpURLConnection.HTTP_BAD_REQUEST) errorStream else inputStream
        // Of a 401 there is none: Java would like to send the request again, with a password.
        val body = stream?.use { it.readAtMost(request.maxReplyBytes) }
        // A body that is cut short ends for Java as if it were whole.
        if (body != null && body.size < contentLengthLong) throw EOFException("it ended after ${body.size} bytes")
        HttpReply(status, getHeaderField("retry-after"), body ?: ByteArray(0))
    } catch (e: HttpRetryException) {
        // The same, where Java says so.
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
