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
 * What asking a server depends on beside what is found.
 *
 * @property connectivity what the phone can reach; on Android `context.connectivity` tells it
 * @property setting what the user allows
 * @property deadline what the server's answer may take with all retries, from the phone's own search on; with less than
 * 100 ms the server is not asked
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

/** What the phone can reach. */
public enum class Connectivity {
    /** Nothing. */
    OFFLINE,

    /** A network that costs by the byte: the server is asked less, and one request at a time. */
    METERED,

    /** Any other network. */
    UNMETERED,

    ;

    internal fun rust(): RustConnectivity = RustConnectivity.entries[ordinal]
}

/** What the user allows. */
public enum class AskSetting {
    /** Ask where it may help. */
    WHEN_USEFUL,

    /** The same, but not on metered networks. */
    UNMETERED_ONLY,

    /** Never. */
    NEVER,

    ;

    internal fun rust(): RustSetting = RustSetting.entries[ordinal]
}

/**
 * Whether a server was asked, and how that ended.
 *
 * @property reason why it was asked, or not
 * @property outcome how that ended
 * @property requests requests that were sent
 * @property time how long it took after the phone's own search; zero where it was not asked
 */
public data class Asked(val reason: AskReason, val outcome: AskOutcome, val requests: Int, val time: Duration)

/** Why a server is asked, or not. */
public enum class AskReason {
    /** Not asked: the user does not want it, here or at all. */
    NOT_ALLOWED,

    /** Not asked: there is no network. */
    OFFLINE,

    /** Not asked: the server failed lately, or asked to be left alone. */
    SERVER_RESTING,

    /** Not asked: the answer would come too late. */
    NO_TIME,

    /** Not asked: the phone's answer is good enough. */
    GOOD_ENOUGH,

    /** Asked: the filter names columns that the phone's catalogue does not have. */
    FILTER_UNKNOWN,

    /** Asked: the phone found nothing. */
    NOTHING_FOUND,

    /** Asked: the phone has too little of the photo's category. */
    CATEGORY_MISSING,

    /** Asked: the phone found fewer listings than wanted. */
    TOO_FEW,

    /** Asked: the phone's first listing is probably not it. */
    DOUBTFUL,
}

/** How asking a server ended. */
public sealed interface AskOutcome {
    /** It was not asked. */
    public data object NotAsked : AskOutcome

    /** It is being asked: these are the phone's own results. */
    public data object Pending : AskOutcome

    /** With an answer, which the results are merged with. */
    public data object Answered : AskOutcome

    /**
     * Without an answer: these are the phone's own results.
     *
     * @property name for metrics and for `when`: `unreachable`, `untrusted`, `broken`, `timed_out`, `busy`,
     * `server_error`, `refused` (a wrong token, a column that the server does not have), `wrong_model` (update the app
     * or its model), `too_large`, `bad_reply`, `resting`, `cancelled`
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
