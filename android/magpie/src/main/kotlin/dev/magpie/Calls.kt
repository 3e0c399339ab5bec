package dev.magpie

import dev.magpie.internal.Cancellation
import dev.magpie.internal.InternalException
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import dev.magpie.internal.MagpieException as RustException

/**
 * Runs a blocking call of Rust's on [dispatcher]. Where the coroutine is cancelled, the call is told to end and waited
 * for: it may still read a buffer that the caller is about to reuse.
 */
internal suspend fun <T> cancellable(dispatcher: CoroutineDispatcher, call: (Cancellation) -> T): T =
    translated { Cancellation() }.use { cancellation ->
        coroutineScope {
            // Unconfined: it runs on the thread that cancels, as those of `dispatcher` may all be busy with calls.
            val watch =
                launch(Dispatchers.Unconfined) {
                    try {
                        awaitCancellation()
                    } finally {
                        cancellation.cancel()
                    }
                }
            try {
                withContext(dispatcher) { translated { call(cancellation) } }
            } finally {
                watch.cancel()
            }
        }
    }

/** Runs a call of Rust's; what it throws is turned into what apps know. */
internal inline fun <T> translated(call: () -> T): T = try {
    call()
} catch (e: RustException) {
    throw e.public()
} catch (e: InternalException) {
    throw MagpieException.Internal(e.message.orEmpty(), e)
} catch (e: LinkageError) {
    // The generated classes load the library when they are first used.
    throw MagpieException.Unsupported(unsupported(), e)
}

internal fun unsupported(): String =
    "the native library magpie_ffi cannot be loaded on ${System.getProperty("os.arch")}: on Android there is one for " +
        "arm64-v8a and x86_64; elsewhere -Djna.library.path names the folder that holds it"

private fun RustException.public(): Exception = when (this) {
    is RustException.Photo -> MagpieException.Photo(reason, this)
    is RustException.Catalog -> MagpieException.Catalog(reason, this)
    is RustException.Model -> MagpieException.Model(reason, this)
    is RustException.Request -> MagpieException.Request(reason, this)
    is RustException.File -> MagpieException.File(reason, this)
    is RustException.Internal -> MagpieException.Internal(reason, this)
    is RustException.Cancelled -> CancellationException("cancelled")
}
