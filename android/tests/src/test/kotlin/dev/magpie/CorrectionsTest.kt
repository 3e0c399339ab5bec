package dev.magpie

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import java.io.File
import java.time.Instant

/** "No, this one": photos like a corrected one find its listing first. */
class CorrectionsTest {
    private val photo = Demo.photo("mug-01.jpg")
    private val other = Demo.photo("chair-02.jpg")

    @Test
    fun `a corrected photo finds its listing first, also after a restart, and others find what they did`(
        @TempDir folder: File,
    ) = suspending {
        val file = folder.resolve("corrections")
        val (before, untouched) = Demo.open().use { it.search(photo).listings to it.search(other).listings }
        Demo.open().use { engine ->
            assertFails<MagpieException.Request> { engine.remember(photo, "vase-02") }
            assertTrue(engine.corrections().isEmpty())
            engine.openCorrections(file)
            assertFails<MagpieException.Request> { engine.remember(photo, "no such listing") }
            assertFails<MagpieException.Photo> { engine.remember(ByteArray(10), "vase-02") }
            engine.remember(photo, "vase-02")
        }
        Demo.open().use { engine ->
            engine.openCorrections(file)
            val results = engine.search(photo)
            assertEquals("vase-02" to true, results.listings.first().let { it.id to it.corrected })
            assertEquals(before.filter { it.id != "vase-02" }.take(9), results.listings.drop(1))
            assertNull(results.confidence)
            assertEquals(untouched, engine.search(other).listings)
            val correction = engine.corrections().single()
            assertEquals("vase-02", correction.listingId)
            assertTrue(correction.time > Instant.EPOCH)
            engine.remember(engine.embed(other), "mug-03")
            assertEquals("mug-03", engine.search(other).listings.first().id)
            assertEquals(1, engine.forget("mug-03"))
            assertEquals(untouched, engine.search(other).listings)
            engine.forgetAll()
            assertTrue(engine.corrections().isEmpty())
        }
    }

    private suspend inline fun <reified E : Throwable> assertFails(call: suspend () -> Unit) {
        val failure = runCatching { call() }.exceptionOrNull()
        assertTrue(failure is E, "$failure")
    }
}
