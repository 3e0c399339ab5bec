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
 * Searches continuously with camera frames. Frames that are dark, blurred, moving, or that show the scene of the last
 * search are skipped, and the list of results stays stable.
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
 * Frames are processed one at a time, while [frames] is suspended. A frame is free for reuse when its emission returns,
 * so a camera image can be closed then. Do not put `buffer`, `conflate` or `flowOn` in between: they retain frames.
 *
 * The flow fails as [SearchEngine.search] does, for example with [MagpieException.Photo] if a crop exceeds the frame.
 *
 * @param frames the camera's frames, each with its rotation
 * @param settings how often to search, and how stable the list is
 * @param power called for each frame: the system's battery and thermal state
 * @param clock measures the time between searches
 * @param options called for each frame; if they change, the list is cleared. Their limit is ignored.
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
 * How often a live search runs, and how stable its list is.
 *
 * @property minInterval minimum time between the starts of two searches
 * @property listings length of the list
 * @property margin a listing overtakes the one above it at once if its score is higher by more than this
 */
public data class LiveSettings(
    val minInterval: Duration = 300.milliseconds,
    val listings: Int = 10,
    val margin: Float = 0.03f,
) {
    init {
        require(minInterval in Duration.ZERO..MAX_INTERVAL) { "invalid interval: $minInterval" }
        require(listings in 1..SearchOptions.MAX_LIMIT / 2) { "invalid list length: $listings" }
    }

    internal fun rust() = RustSettings(minInterval.inWholeMilliseconds.toUInt(), listings.toUInt(), margin)

    private companion object {
        val MAX_INTERVAL = Int.MAX_VALUE.milliseconds
    }
}

/** The system's battery and thermal state: searches run less often to save power. */
public enum class PowerHint {
    /** No restriction. */
    NORMAL,

    /** The battery saver is on. */
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

/** What happened to a frame. */
public sealed class LiveUpdate {
    /**
     * The frame was searched with.
     *
     * @property listings what to show: the results of the last searches, in a stable order
     * @property results the results of this search alone
     */
    public class Found(public val listings: List<Listing>, public val results: SearchResults) : LiveUpdate()

    /**
     * The frame was skipped.
     *
     * @property reason why it was skipped
     */
    public class PassedOver(public val reason: Reason) : LiveUpdate()

    /** Why a frame was skipped. */
    public enum class Reason {
        /** The frame is too small to be analysed. */
        UNUSABLE,

        /** A search is in progress. */
        BUSY,

        /** The last search started too recently, or took so long that a pause is due. */
        TOO_SOON,

        /** Postponed because the battery saver is on. */
        SAVING,

        /** Postponed because the phone is hot. */
        HOT,

        /** The frame is too dark. */
        DARK,

        /** The camera or the scene is moving, or stopped only just now. */
        MOVING,

        /** The frame is out of focus or shows only plain surfaces. */
        BLURRED,

        /** The scene is the one of the last search. */
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
        // Search for twice the list's length, so that a listing that drops a few ranks is not lost at once.
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
        // Listings on display that this search did not find are kept from the search that found them.
        val all = known + results.listings.associateBy { it.id }
        val listings = ranked.mapNotNull { (id, score) -> all[id]?.copy(score = score) }
        known = all.filterKeys { id -> id in results.listings.map { it.id } || ranked.any { it.id == id } }
        return LiveUpdate.Found(listings, results)
    }
}
