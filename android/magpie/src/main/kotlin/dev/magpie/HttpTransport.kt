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
 * Sends single requests to a [CatalogServer]. When to send, to send again and to give up is decided by the library.
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
     * Posts a request and gives the response, with any status. Called on a thread that may wait. A request that is
     * given up is cancelled: the connection should then be closed.
     *
     * Must not follow redirects, and must not send again by itself.
     *
     * @throws IOException where there is no response: [ReplyTooLargeException] where it is longer than
     * [HttpRequest.maxReplyBytes], [java.net.SocketTimeoutException] where its time was over, what else Java has for
     * hosts that cannot be reached, certificates that are not trusted and connections that break
     */
    public suspend fun send(request: HttpRequest): HttpReply
}

/**
 * A request to post.
 *
 * @property url where to
 * @property headers all that it needs, with the token where there is one: not for logs
 * @property body JSON, in UTF-8
 * @property timeout how long the response may take with all of its body; it is then given up in any case
 */
public class HttpRequest internal constructor(
    public val url: String,
    public val headers: Map<String, String>,
    public val body: ByteArray,
    public val timeout: Duration,
) {
    /** The longest body of a response that is of use, in bytes. */
    public val maxReplyBytes: Int get() = MAX_REPLY_BYTES

    internal companion object {
        val MAX_REPLY_BYTES: Int by lazy { translated { dev.magpie.internal.maxReplyBytes().toInt() } }
    }
}

/**
 * A response.
 *
 * @property status the HTTP status
 * @property retryAfter the header `retry-after`
 * @property body all of the body
 */
public class HttpReply(public val status: Int, public val retryAfter: String?, public val body: ByteArray)

/** The body of a response is longer than [HttpRequest.maxReplyBytes]. */
public class ReplyTooLargeException : IOException("the body is longer than a reply may be")

/** What this failure of an attempt says of the server. */
internal fun Throwable.trouble(): RustTrouble = when (this) {
    is ReplyTooLargeException -> RustTrouble.TOO_LARGE

    is InterruptedIOException -> RustTrouble.TIMED_OUT

    is SSLPeerUnverifiedException -> RustTrouble.UNTRUSTED

    is SSLException -> when {
        generateSequence(cause) { it.cause }.take(MOST_CAUSES).any { it.isDistrust() } -> RustTrouble.UNTRUSTED
        cause is SocketException || cause is EOFException -> RustTrouble.BROKEN
        else -> RustTrouble.UNREACHABLE
    }

    // Without the permission INTERNET, Android throws a SecurityException.
    is ConnectException, is NoRouteToHostException, is UnknownHostException, is UnknownServiceException,
    is SecurityException,
    -> RustTrouble.UNREACHABLE

    else -> RustTrouble.BROKEN
}

private fun Throwable.isDistrust() = this is CertificateException || this is CertPathValidatorException

/** A chain of causes may be a ring. */
private const val MOST_CAUSES = 16
