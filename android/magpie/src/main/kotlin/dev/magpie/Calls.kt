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
 * Runs a blocking Rust call on [dispatcher]. If the coroutine is cancelled, the call is told to stop and waited for,
 * because it may still read a buffer that the caller is about to reuse.
 */
internal suspend fun <T> cancellable(dispatcher: CoroutineDispatcher, call: (Cancellation) -> T): T =
    translated { Cancellation() }.use { cancellation ->
        coroutineScope {
            // Unconfined: runs on the cancelling thread, because all threads of `dispatcher` may be busy with calls.
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

/** Runs a Rust call and translates its exceptions to the public ones. */
internal inline fun <T> translated(call: () -> T): T = try {
    call()
} catch (e: RustException) {
    throw e.public()
} catch (e: InternalException) {
    throw MagpieException.Internal(e.message.orEmpty(), e)
} catch (e: LinkageError) {
    // The generated classes load the library on first use.
    throw MagpieException.Unsupported(unsupported(), e)
}

internal fun unsupported(): String =
    "the native library magpie_ffi cannot be loaded on ${System.getProperty("os.arch")}: on Android it exists for " +
        "arm64-v8a and x86_64; elsewhere set -Djna.library.path to the folder that holds it"

private fun RustException.public(): Exception = when (this) {
    is RustException.Photo -> MagpieException.Photo(reason, this)
    is RustException.Catalog -> MagpieException.Catalog(reason, this)
    is RustException.Model -> MagpieException.Model(reason, this)
    is RustException.Request -> MagpieException.Request(reason, this)
    is RustException.File -> MagpieException.File(reason, this)
    is RustException.OtherModel -> MagpieException.OtherModel(reason, this)
    is RustException.Untrusted -> MagpieException.Untrusted(reason, this)
    is RustException.Outdated -> MagpieException.Outdated(reason, this)
    is RustException.NotForThisApp -> MagpieException.NotForThisApp(reason, this)
    is RustException.Download -> MagpieException.Download(reason, this)
    is RustException.Busy -> MagpieException.Busy(reason, this)
    is RustException.NoSpace -> MagpieException.NoSpace(reason, this)
    is RustException.Internal -> MagpieException.Internal(reason, this)
    is RustException.Cancelled -> CancellationException("cancelled")
}
