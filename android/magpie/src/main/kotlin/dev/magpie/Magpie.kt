package dev.magpie

import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.withContext
import java.io.File
import dev.magpie.internal.LogLevel as RustLevel
import dev.magpie.internal.LogSink as RustSink
import dev.magpie.internal.startLogging as rustStartLogging
import dev.magpie.internal.verifyCatalog as rustVerifyCatalog

/** Functions of the library as a whole. Searching starts with [SearchEngine.open]. */
public object Magpie {
    /**
     * Verifies every section of a catalogue file: its checksum and the format's rules. Call it once after a download.
     * Reads the whole file, on [dispatcher].
     *
     * @throws MagpieException.File if the file cannot be read
     * @throws MagpieException.Catalog if the catalogue is damaged
     */
    public suspend fun verifyCatalog(file: File, dispatcher: CoroutineDispatcher = Dispatchers.IO): Unit =
        withContext(dispatcher) { translated { rustVerifyCatalog(file.path) } }

    /**
     * Starts logging, or changes level and destination. Without a [sink], lines go to Android's log under the tag
     * `Magpie`; on other systems they are discarded. Nothing that a user photographed or typed is logged.
     *
     * ```kotlin
     * Magpie.startLogging(LogLevel.INFO) { level, module, line -> crashReports.breadcrumb("$level $module: $line") }
     * ```
     *
     * @return false if another Rust library in the app has already installed a logger
     */
    public fun startLogging(level: LogLevel, sink: LogSink? = null): Boolean =
        translated { rustStartLogging(level.rust(), sink?.let { Forward(it) }) }

    /** Passes log lines from Rust to the app's sink. */
    private class Forward(private val sink: LogSink) : RustSink {
        @Suppress("TooGenericExceptionCaught", "SwallowedException")
        override fun log(level: RustLevel, module: String, line: String) {
            try {
                sink.log(LogLevel.entries[level.ordinal], module, line)
            } catch (e: Exception) {
                // A failing sink must not end the search that logged, and there is no log to report it to.
            }
        }
    }
}

/** How much is logged. */
public enum class LogLevel {
    /** Nothing. */
    OFF,

    /** Defects of the library, and files that cannot be used. */
    ERROR,

    /** Possible problems. */
    WARN,

    /** What was opened, and which inputs were refused. */
    INFO,

    /** Every call, with its times. */
    DEBUG,
    ;

    internal fun rust(): RustLevel = RustLevel.entries[ordinal]
}

/** Receives log lines. */
public fun interface LogSink {
    /** Receives one line. Called on the thread that logs, possibly on several at once, so it must be fast. */
    public fun log(level: LogLevel, module: String, line: String)
}
