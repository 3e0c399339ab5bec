package dev.magpie

import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.withContext
import java.io.File
import dev.magpie.internal.LogLevel as RustLevel
import dev.magpie.internal.LogSink as RustSink
import dev.magpie.internal.startLogging as rustStartLogging
import dev.magpie.internal.verifyCatalog as rustVerifyCatalog

/** What concerns the library as a whole. Searching starts with [SearchEngine.open]. */
public object Magpie {
    /**
     * Checks every section of a catalogue file against its checksum and its rules: once, after a download. Reads all of
     * the file, on [dispatcher].
     *
     * @throws MagpieException.File where it cannot be read
     * @throws MagpieException.Catalog where anything is wrong with it
     */
    public suspend fun verifyCatalog(file: File, dispatcher: CoroutineDispatcher = Dispatchers.IO): Unit =
        withContext(dispatcher) { translated { rustVerifyCatalog(file.path) } }

    /**
     * Starts logging, or changes what is logged and where to. Without a [sink] lines go to Android's log under the tag
     * `Magpie`, and nowhere elsewhere. Nothing that a user photographed or typed is logged.
     *
     * ```kotlin
     * Magpie.startLogging(LogLevel.INFO) { level, module, line -> crashReports.breadcrumb("$level $module: $line") }
     * ```
     *
     * @return false where another Rust library in the app has taken the place of the logger
     */
    public fun startLogging(level: LogLevel, sink: LogSink? = null): Boolean =
        translated { rustStartLogging(level.rust(), sink?.let { Forward(it) }) }

    /** Rust's calls, in the terms of apps. */
    private class Forward(private val sink: LogSink) : RustSink {
        @Suppress("TooGenericExceptionCaught", "SwallowedException")
        override fun log(level: RustLevel, module: String, line: String) {
            try {
                sink.log(LogLevel.entries[level.ordinal], module, line)
            } catch (e: Exception) {
                // A sink's failure is its own: it must not end the search that logged, and there is no log to tell.
            }
        }
    }
}

/** How much is logged. */
public enum class LogLevel {
    /** Nothing. */
    OFF,

    /** Defects and files that cannot be used. */
    ERROR,

    /** What may be wrong. */
    WARN,

    /** What was opened, and what was refused. */
    INFO,

    /** Every call with its times. */
    DEBUG,
    ;

    internal fun rust(): RustLevel = RustLevel.entries[ordinal]
}

/** Takes log lines. */
public fun interface LogSink {
    /** One line. Called on the thread that logs, at the same time as on others, so it must be quick. */
    public fun log(level: LogLevel, module: String, line: String)
}
