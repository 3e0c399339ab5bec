package dev.magpie

import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import dev.magpie.internal.AskOptions as RustOptions
import dev.magpie.internal.AskReason as RustReason
import dev.magpie.internal.AskSetting as RustSetting
import dev.magpie.internal.Asked as RustAsked
import dev.magpie.internal.AskedEnd as RustEnd
import dev.magpie.internal.Connectivity as RustConnectivity

/**
 * When and for how long to ask a server.
 *
 * @property connectivity the phone's current network; on Android, use `context.connectivity`
 * @property setting what the user allows
 * @property deadline how long the server's answer may take, retries included, counted from the end of the phone's own
 * search; below 100 ms the server is not asked
 */
public data class AskOptions(
    val connectivity: Connectivity,
    val setting: AskSetting = AskSetting.WHEN_USEFUL,
    val deadline: Duration = 1500.milliseconds,
) {
    internal fun rust(): RustOptions {
        val milliseconds = deadline.inWholeMilliseconds.coerceIn(0, Int.MAX_VALUE.toLong())
        return RustOptions(connectivity.rust(), setting.rust(), milliseconds.toUInt())
    }
}

/** The phone's network connection. */
public enum class Connectivity {
    /** No network. */
    OFFLINE,

    /** A network that is billed by volume: the server is asked less often, with one request at a time. */
    METERED,

    /** Any other network. */
    UNMETERED,

    ;

    internal fun rust(): RustConnectivity = RustConnectivity.entries[ordinal]
}

/** When the user allows a server to be asked. */
public enum class AskSetting {
    /** Ask when it is likely to improve the results. */
    WHEN_USEFUL,

    /** As [WHEN_USEFUL], but not on metered networks. */
    UNMETERED_ONLY,

    /** Never ask. */
    NEVER,

    ;

    internal fun rust(): RustSetting = RustSetting.entries[ordinal]
}

/**
 * Whether a server was asked, and with what outcome.
 *
 * @property reason why the server was asked or not
 * @property outcome how the request ended
 * @property requests the number of HTTP requests sent
 * @property time how long it took after the phone's own search; zero if the server was not asked
 */
public data class Asked(
    val reason: AskReason,
    val outcome: AskOutcome,
    val requests: Int = 0,
    val time: Duration = Duration.ZERO,
)

/** Why a server was asked or not. */
public enum class AskReason {
    /** Not asked: the user's setting does not allow it, at all or on this network. */
    NOT_ALLOWED,

    /** Not asked: there is no network. */
    OFFLINE,

    /** Not asked: the server failed repeatedly or sent `Retry-After`, and its circuit breaker is open. */
    SERVER_RESTING,

    /** Not asked: the deadline is too short for an answer. */
    NO_TIME,

    /** Not asked: the phone's answer is good enough. */
    GOOD_ENOUGH,

    /** Asked: the filter names columns that are missing from the phone's catalogue. */
    FILTER_UNKNOWN,

    /** Asked: the phone found nothing. */
    NOTHING_FOUND,

    /** Asked: the phone's catalogue has too few listings of the photo's category. */
    CATEGORY_MISSING,

    /** Asked: the phone found fewer listings than requested. */
    TOO_FEW,

    /** Asked: the phone's first listing is probably wrong. */
    DOUBTFUL,
}

/** How a request to a server ended. */
public sealed interface AskOutcome {
    /** The server was not asked. */
    public data object NotAsked : AskOutcome

    /** The request is in progress: these are the phone's own results. */
    public data object Pending : AskOutcome

    /** The server answered, and its listings are merged into the results. */
    public data object Answered : AskOutcome

    /**
     * The server did not answer: these are the phone's own results.
     *
     * @property name a stable identifier for metrics and `when`: `unreachable`, `untrusted`, `broken`, `timed_out`,
     * `busy`, `server_error`, `refused` (a wrong token, or a column that the server does not have), `wrong_model`
     * (update the app or its model), `too_large`, `bad_reply`, `resting`, `cancelled`
     * @property reason the same in English, for developers
     */
    public data class Failed(val name: String, val reason: String) : AskOutcome
}

internal fun RustAsked.public(): Asked = Asked(reason.public(), ended.public(), requests.toInt(), tookMs.milliseconds)

private fun RustReason.public() = AskReason.entries[ordinal]

private fun RustEnd.public(): AskOutcome = when (this) {
    is RustEnd.NotAsked -> AskOutcome.NotAsked
    is RustEnd.Pending -> AskOutcome.Pending
    is RustEnd.Answered -> AskOutcome.Answered
    is RustEnd.Failed -> AskOutcome.Failed(name, reason)
}
