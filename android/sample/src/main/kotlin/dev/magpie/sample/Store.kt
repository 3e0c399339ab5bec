package dev.magpie.sample

import android.content.Context
import dev.magpie.SearchEngine
import dev.magpie.android.installMagpieAssets
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock

/** The app's only engine, for the catalogue in its assets; open as long as the process lives. */
internal object Store {
    private val opening = Mutex()
    private var engine: SearchEngine? = null

    suspend fun engine(context: Context): SearchEngine = opening.withLock {
        engine ?: context.applicationContext.installMagpieAssets().open().also { engine = it }
    }
}
