package dev.magpie

import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.asCoroutineDispatcher
import kotlinx.coroutines.async
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.delay
import kotlinx.coroutines.launch
import kotlinx.coroutines.withTimeout
import kotlinx.coroutines.withTimeoutOrNull
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import java.util.concurrent.Executors
import java.util.concurrent.atomic.AtomicBoolean
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds

/** Cancelling a coroutine stops the call in Rust. */
class CancelTest {
    private val mug = Demo.photo("mug-01.jpg")

    /** Runs for hours unless cancelled. */
    private suspend fun SearchEngine.forHours() = benchmark(mug, runs = 100_000_000)

    @Test
    fun `a cancelled coroutine stops its call`() = withEngine { engine ->
        val call = async(Dispatchers.Default) { engine.forHours() }
        delay(200.milliseconds)
        assertTrue(call.isActive)
        // Joining waits for Rust: if the flag were not set, this would take hours.
        withTimeout(20.seconds) { call.cancelAndJoin() }
        assertThrows<CancellationException> { call.await() }
        assertEquals("mug-01", engine.search(mug).listings.first().id)
    }

    @Test
    fun `a timeout stops a call`() = withEngine { engine ->
        withTimeout(20.seconds) {
            assertNull(withTimeoutOrNull(200.milliseconds) { engine.forHours() })
        }
    }

    @Test
    fun `cancelling works if the only thread is busy with the call`() = suspending {
        Executors.newSingleThreadExecutor().asCoroutineDispatcher().use { only ->
            SearchEngine.open(Demo.pack, Demo.catalog, dispatcher = only).use { engine ->
                val call = launch(only) { engine.forHours() }
                delay(200.milliseconds)
                withTimeout(20.seconds) { call.cancelAndJoin() }
                assertEquals("mug-01", engine.search(mug).listings.first().id)
            }
        }
    }

    @Test
    fun `an already cancelled coroutine does not call`() = withEngine { engine ->
        val called = AtomicBoolean()
        val job =
            launch {
                coroutineContext[kotlinx.coroutines.Job]?.cancel()
                engine.forHours()
                called.set(true)
            }
        withTimeout(20.seconds) { job.join() }
        assertTrue(job.isCancelled && !called.get())
    }
}
