package dev.magpie

import dev.magpie.internal.LiveGate
import dev.magpie.internal.Ranked
import dev.magpie.internal.Verdict
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.withContext
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.TimeMark
import kotlin.time.TimeSource
import dev.magpie.internal.LiveSettings as RustSettings
import dev.magpie.internal.PowerHint as RustPower

/**
 * Searches while the camera looks around: frames that are dark, blurred, moving, or show what was searched last are
 * passed over, and the list of results holds still.
 *
 * ```kotlin
 * engine.live(camera.frames) { SearchOptions(crop = box.crop(it)) }.collect { update ->
 *     when (update) {
 *         is LiveUpdate.Found -> show(update.listings)
 *         is LiveUpdate.PassedOver -> hint(update.reason)
 *     }
 * }
 * ```
 *
 * Frames are worked on one after the other, while [frames] waits; each is done with when its emission returns, so a
 * camera's picture can be given back then. Nothing may keep frames in between: no `buffer`, `conflate` or `flowOn`.
 *
 * The flow fails as [SearchEngine.search] does, for example with [MagpieException.Photo] where a crop leaves the frame.
 *
 * @param frames the camera's frames, upright or with their rotation
 * @param settings how eager the search and how firm the list is
 * @param power asked for each frame: what the system says of battery and heat
 * @param clock for the time between searches
 * @param options asked for each frame; where they change, the list starts anew. Their limit does not matter.
 */
public fun SearchEngine.live(
    frames: Flow<Frame>,
    settings: LiveSettings = LiveSettings(),
    power: () -> PowerHint = { PowerHint.NORMAL },
    clock: TimeSource = TimeSource.Monotonic,
    options: (Frame) -> SearchOptions = { SearchOptions() },
): Flow<LiveUpdate> = flow {
    translated { LiveGate(settings.rust()) }.use { gate ->
        val search = LiveSearch(this@live, gate, settings, clock.markNow())
        frames.collect { emit(search.update(it, power(), options(it))) }
    }
}

/**
 * How eager a live search and how firm its list is.
 *
 * @property minInterval least time from one search's start to the next's
 * @property listings length of the list
 * @property margin a listing passes the one above it at once if its cosine is higher by more than this
 */
public data class LiveSettings(
    val minInterval: Duration = 300.milliseconds,
    val listings: Int = 10,
    val margin: Float = 0.03f,
) {
    init {
        require(minInterval in Duration.ZERO..MAX_INTERVAL) { "no such interval: $minInterval" }
        require(listings in 1..SearchOptions.MAX_LIMIT / 2) { "no such length of a list: $listings" }
    }

    internal fun rust() = RustSettings(minInterval.inWholeMilliseconds.toUInt(), listings.toUInt(), margin)

    private companion object {
        val MAX_INTERVAL = Int.MAX_VALUE.milliseconds
    }
}

/** What the system says of battery and heat: a search waits longer where there is something to save. */
public enum class PowerHint {
    /** Nothing to save. */
    NORMAL,

    /** Battery saver. */
    SAVING,

    /** The phone is hot. */
    HOT,

    ;

    internal fun rust(): RustPower = when (this) {
        NORMAL -> RustPower.NORMAL
        SAVING -> RustPower.SAVING
        HOT -> RustPower.HOT
    }
}

/** What became of a frame. */
public sealed class LiveUpdate {
    /**
     * It was searched with.
     *
     * @property listings what to show: the results of the last searches, in an order that holds still
     * @property results what this search found by itself
     */
    public class Found(public val listings: List<Listing>, public val results: SearchResults) : LiveUpdate()

    /**
     * It was passed over.
     *
     * @property reason why
     */
    public class PassedOver(public val reason: Reason) : LiveUpdate()

    /** Why a frame was passed over. */
    public enum class Reason {
        /** It is too small to be judged. */
        UNUSABLE,

        /** A search is under way. */
        BUSY,

        /** The last search was too recent, or took so long that a rest is due. */
        TOO_SOON,

        /** It would be time if the phone did not save its battery. */
        SAVING,

        /** It would be time if the phone were not hot. */
        HOT,

        /** Too dark to see much. */
        DARK,

        /** The camera or the scene is moving, or has only just come to rest. */
        MOVING,

        /** Out of focus, or nothing there but plain surfaces. */
        BLURRED,

        /** What was searched last. */
        UNCHANGED,
    }
}

/** One live search: the gate, and the listings whose ids it ranks. */
private class LiveSearch(
    private val engine: SearchEngine,
    private val gate: LiveGate,
    private val settings: LiveSettings,
    private val start: TimeMark,
) {
    private var options: SearchOptions? = null
    private var known = emptyMap<String, Listing>()

    private fun now() = start.elapsedNow().inWholeMilliseconds.toULong()

    suspend fun update(frame: Frame, power: PowerHint, wanted: SearchOptions): LiveUpdate {
        // Twice the list's length, so that a listing that slips is not lost at once.
        val asked = wanted.copy(limit = 2 * settings.listings)
        if (options != null && options != asked) {
            gate.restart()
            known = emptyMap()
        }
        options = asked
        val reason = withContext(engine.dispatcher) { judge(frame, power) }
        return if (reason == null) search(frame, asked) else LiveUpdate.PassedOver(reason)
    }

    private fun judge(frame: Frame, power: PowerHint): LiveUpdate.Reason? {
        val verdict = translated {
            frame.rust().borrowed { first, second, third, layout ->
                gate.frame(first, second, third, layout, now(), power.rust())
            }
        }
        return when (verdict) {
            Verdict.SEARCH -> null
            Verdict.UNUSABLE -> LiveUpdate.Reason.UNUSABLE
            Verdict.BUSY -> LiveUpdate.Reason.BUSY
            Verdict.TOO_SOON -> LiveUpdate.Reason.TOO_SOON
            Verdict.SAVING -> LiveUpdate.Reason.SAVING
            Verdict.HOT -> LiveUpdate.Reason.HOT
            Verdict.DARK -> LiveUpdate.Reason.DARK
            Verdict.MOVING -> LiveUpdate.Reason.MOVING
            Verdict.BLURRED -> LiveUpdate.Reason.BLURRED
            Verdict.UNCHANGED -> LiveUpdate.Reason.UNCHANGED
        }
    }

    private suspend fun search(frame: Frame, options: SearchOptions): LiveUpdate.Found {
        val started = now()
        val results = try {
            engine.search(frame, options)
        } finally {
            val ended = now()
            gate.searched(ended - started, ended)
        }
        val ranked = gate.results(results.listings.map { Ranked(it.id, it.score) })
        // Those on show that this search did not find are remembered from the one that did.
        val all = known + results.listings.associateBy { it.id }
        val listings = ranked.mapNotNull { (id, score) -> all[id]?.copy(score = score) }
        known = all.filterKeys { id -> id in results.listings.map { it.id } || ranked.any { it.id == id } }
        return LiveUpdate.Found(listings, results)
    }
}
