package dev.magpie

import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.asFlow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import java.util.concurrent.atomic.AtomicInteger
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds
import kotlin.time.TestTimeSource

/** Suitable frames are searched with, and the others report why not. */
class LiveTest {
    private val mug = Picture.of("mug-01.jpg").frame()
    private val bag = Picture.of("bag-01.jpg").frame()
    private val clock = TestTimeSource()

    /** Emits the frames at this interval of the test clock. */
    private fun camera(frames: List<Frame>, apart: kotlin.time.Duration = 1.seconds): Flow<Frame> = flow {
        for (frame in frames) {
            emit(frame)
            clock += apart
        }
    }

    private suspend fun SearchEngine.see(
        frames: Flow<Frame>,
        power: () -> PowerHint = { PowerHint.NORMAL },
        options: (Frame) -> SearchOptions = { SearchOptions() },
    ) = live(frames, LiveSettings(listings = 5), power, clock, options).toList()

    /** For each update, the best listing's id, or the reason for skipping the frame. */
    private fun outcomes(updates: List<LiveUpdate>) = updates.map {
        when (it) {
            is LiveUpdate.Found -> it.listings.first().id
            is LiveUpdate.PassedOver -> it.reason
        }
    }

    @Test
    fun `a still scene is searched once, and again when it changes`() = withEngine { engine ->
        val updates = engine.see(camera(List(4) { mug } + List(3) { bag }))
        val moving = LiveUpdate.Reason.MOVING
        val unchanged = LiveUpdate.Reason.UNCHANGED
        assertEquals(listOf(moving, moving, "mug-01", unchanged, moving, moving, "bag-01"), outcomes(updates))
        val found = updates.filterIsInstance<LiveUpdate.Found>()
        assertEquals(listOf(5, 5), found.map { it.listings.size })
        assertEquals(engine.search(mug).listings.take(5), found[0].listings)
        assertEquals("18.00", found[0].listings.first()["price"])
        assertEquals(engine.search(mug, SearchOptions(limit = 10)).listings, found[0].results.listings)
    }

    @Test
    fun `frames that show nothing are skipped`() = withEngine { engine ->
        val dark = Picture.of("mug-01.jpg").dimmed(0.03).frame()
        val plain = Picture(64, 64) { _, _ -> 0xA0A0A0 }.frame()
        assertEquals(LiveUpdate.Reason.DARK, outcomes(engine.see(camera(List(4) { dark }))).last())
        assertEquals(LiveUpdate.Reason.BLURRED, outcomes(engine.see(camera(List(4) { plain }))).last())
        val moving = List(4) { if (it % 2 == 0) mug else bag }
        assertEquals(List(4) { LiveUpdate.Reason.MOVING }, outcomes(engine.see(camera(moving))))
    }

    @Test
    fun `searches are spaced, and further apart to save power`() = withEngine { engine ->
        val frames = List(3) { mug } + List(3) { bag }
        val soon = outcomes(engine.see(camera(frames, 50.milliseconds)))
        assertEquals("mug-01", soon[2])
        assertTrue(LiveUpdate.Reason.TOO_SOON in soon.drop(3), "$soon")
        // By the test clock a search takes no time, so the intervals are 300 ms, and three and eight times that.
        val apart = 350.milliseconds
        val saving = outcomes(engine.see(camera(frames, apart), power = { PowerHint.SAVING }))
        assertEquals(LiveUpdate.Reason.SAVING, saving[3])
        assertEquals(LiveUpdate.Reason.HOT, outcomes(engine.see(camera(frames, apart), power = { PowerHint.HOT }))[3])
    }

    @Test
    fun `new options search the same scene again, with a new list`() = withEngine { engine ->
        val asked = AtomicInteger()
        val updates = engine.see(camera(List(6) { mug })) {
            // Only bags, from the fifth frame on.
            if (asked.incrementAndGet() <
                5
            ) {
                SearchOptions()
            } else {
                SearchOptions(filter = column("category") equalTo "Bags")
            }
        }
        val found = updates.filterIsInstance<LiveUpdate.Found>()
        assertEquals(2, found.size, "${outcomes(updates)}")
        assertEquals("mug-01", found[0].listings.first().id)
        assertTrue(found[1].listings.isNotEmpty() && found[1].listings.all { it["category"] == "Bags" })
    }

    @Test
    fun `a frame is released before the next one arrives`() = withEngine { engine ->
        val inUse = AtomicInteger()
        val frames = flow {
            repeat(5) {
                assertEquals(1, inUse.incrementAndGet())
                emit(mug)
                inUse.decrementAndGet()
                clock += 1.seconds
            }
        }
        assertEquals(5, engine.see(frames).size)
    }

    @Test
    fun `cancelling and errors end a live search`() = withEngine { engine ->
        val endless = flow { while (true) emit(mug) }
        val seen = AtomicInteger()
        val job = launch { engine.live(endless).collect { seen.incrementAndGet() } }
        while (seen.get() < 3) kotlinx.coroutines.delay(5)
        job.cancelAndJoin()
        assertTrue(job.isCancelled)
        val outside = SearchOptions(crop = Crop(0, 0, 5000, 10))
        assertThrows<MagpieException.Photo> { engine.see(camera(List(4) { mug })) { outside } }
        val closed = Demo.open().also { it.close() }
        assertThrows<MagpieException.Closed> { closed.see(camera(List(4) { mug })) }
        assertThrows<IllegalArgumentException> { LiveSettings(listings = 0) }
        assertThrows<IllegalArgumentException> { LiveSettings(minInterval = (-1).seconds) }
        assertEquals(emptyList<LiveUpdate>(), engine.live(emptyList<Frame>().asFlow()).toList())
    }
}
