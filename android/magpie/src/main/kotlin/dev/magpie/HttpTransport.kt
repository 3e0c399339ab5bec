package dev.magpie

import java.io.EOFException
import java.io.IOException
import java.io.InterruptedIOException
import java.net.ConnectException
import java.net.NoRouteToHostException
import java.net.SocketException
import java.net.UnknownHostException
import java.net.UnknownServiceException
import java.security.cert.CertPathValidatorException
import java.security.cert.CertificateException
import javax.net.ssl.SSLException
import javax.net.ssl.SSLPeerUnverifiedException
import kotlin.time.Duration
import dev.magpie.internal.Trouble as RustTrouble

/**
 * Sends single requests to a [CatalogServer]. The library decides when to send, retry and give up.
 *
 * ```kotlin
 * val transport = HttpTransport { request ->
 *     val builder = Request.Builder().url(request.url).post(request.body.toRequestBody())
 *     request.headers.forEach { (name, value) -> builder.header(name, value) }
 *     client.newCall(builder.build()).executeAsync().use { response ->
 *         val body = response.peekBody(request.maxReplyBytes + 1L).bytes()
 *         HttpReply(response.code, response.header("retry-after"), body)
 *     }
 * }
 * ```
 */
public fun interface HttpTransport {
    /**
     * Posts a request and returns the response, whatever its status. Called on a thread that may block. An abandoned
     * request is cancelled; close its connection then.
     *
     * Implementations must neither follow redirects nor retry.
     *
     * @throws IOException if there is no response: [ReplyTooLargeException] if the body is longer than
     * [HttpRequest.maxReplyBytes], [java.net.SocketTimeoutException] on a timeout, or Java's usual exceptions for
     * unreachable hosts, untrusted certificates and broken connections
     */
    public suspend fun send(request: HttpRequest): HttpReply
}

/**
 * A request to post.
 *
 * @property url the target URL
 * @property headers all headers that are needed, including the token if there is one; do not log them
 * @property body UTF-8 encoded JSON
 * @property timeout how long the response may take, body included; the library abandons the request after it
 */
public class HttpRequest(
    public val url: String,
    public val headers: Map<String, String> = emptyMap(),
    public val body: ByteArray = ByteArray(0),
    public val timeout: Duration = Duration.INFINITE,
) {
    /** The longest response body that is accepted, in bytes. */
    public val maxReplyBytes: Int get() = MAX_REPLY_BYTES

    internal companion object {
        val MAX_REPLY_BYTES: Int by lazy { translated { dev.magpie.internal.maxReplyBytes().toInt() } }
    }
}

/**
 * A response.
 *
 * @property status the HTTP status code
 * @property retryAfter the value of the `Retry-After` header
 * @property body the complete body
 */
public class HttpReply(
    public val status: Int,
    public val retryAfter: String? = null,
    public val body: ByteArray = ByteArray(0),
)

/** The body of a response is longer than [HttpRequest.maxReplyBytes]. */
public class ReplyTooLargeException : IOException("the response body is too long")

/** Maps a failed attempt to what it reveals about the server. */
internal fun Throwable.trouble(): RustTrouble = when (this) {
    is ReplyTooLargeException -> RustTrouble.TOO_LARGE

    is InterruptedIOException -> RustTrouble.TIMED_OUT

    is SSLPeerUnverifiedException -> RustTrouble.UNTRUSTED

    is SSLException -> when {
        generateSequence(cause) { it.cause }.take(MOST_CAUSES).any { it.isDistrust() } -> RustTrouble.UNTRUSTED
        cause is SocketException || cause is EOFException -> RustTrouble.BROKEN
        else -> RustTrouble.UNREACHABLE
    }

    // Android throws a SecurityException if the app lacks the permission INTERNET.
    is ConnectException, is NoRouteToHostException, is UnknownHostException, is UnknownServiceException,
    is SecurityException,
    -> RustTrouble.UNREACHABLE

    else -> RustTrouble.BROKEN
}

private fun Throwable.isDistrust() = this is CertificateException || this is CertPathValidatorException

/** Bounds the search because a chain of causes may be circular. */
private const val MOST_CAUSES = 16
