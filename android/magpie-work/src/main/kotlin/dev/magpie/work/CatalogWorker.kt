package dev.magpie.work

import android.content.Context
import androidx.work.Constraints
import androidx.work.CoroutineWorker
import androidx.work.ExistingPeriodicWorkPolicy
import androidx.work.NetworkType
import androidx.work.PeriodicWorkRequest
import androidx.work.WorkManager
import androidx.work.WorkerParameters
import dev.magpie.BackgroundUpdate
import dev.magpie.Catalog
import dev.magpie.MagpieException
import dev.magpie.ReleaseServer
import dev.magpie.Trust
import dev.magpie.UpdateOptions
import dev.magpie.updateInBackground
import java.util.concurrent.TimeUnit

/**
 * Keeps a catalogue up to date in the background, with WorkManager.
 *
 * ```kotlin
 * class ShopWorker(context: Context, parameters: WorkerParameters) : CatalogWorker(context, parameters) {
 *     override val catalog = context.magpieCatalog()
 *     override val server = ReleaseServer("https://shop.example/release")
 *     override val trust = Trust(listOf(KEY))
 * }
 *
 * CatalogWorker.schedule(context, ShopWorker::class.java) // in Application.onCreate
 * ```
 *
 * The app changes over with [dev.magpie.SearchEngine.replaceCatalog] when it next comes to the foreground, if the
 * sequence of [Catalog.current] is another than that of [dev.magpie.SearchEngine.installed]. When a run is stopped, the
 * next one goes on from there.
 */
public abstract class CatalogWorker(context: Context, parameters: WorkerParameters) :
    CoroutineWorker(context, parameters) {
    /** The catalogue to update. */
    protected abstract val catalog: Catalog

    /** Where it is published. */
    protected abstract val server: ReleaseServer

    /** The publisher's keys. */
    protected abstract val trust: Trust

    /** How to update; give the app's model here. */
    protected open val options: UpdateOptions get() = UpdateOptions()

    /** Receives why an update failed. Does nothing by default. */
    protected open fun report(error: MagpieException): Unit = Unit

    final override suspend fun doWork(): Result =
        when (catalog.updateInBackground(server, trust, options) { report(it) }) {
            BackgroundUpdate.DONE -> Result.success()
            BackgroundUpdate.LATER -> Result.retry()
            BackgroundUpdate.FAILED -> Result.failure()
        }

    public companion object {
        /**
         * Runs a worker about every [hours] hours from now on, while the battery is not low. Scheduling it again keeps
         * the schedule that is there.
         *
         * @param worker the app's worker; its name is that of the schedule
         * @param hours the interval, at least 1
         * @param unmeteredOnly whether it waits for a network that is not billed by volume
         */
        public fun schedule(
            context: Context,
            worker: Class<out CatalogWorker>,
            hours: Int = 24,
            unmeteredOnly: Boolean = true,
        ) {
            require(hours >= 1) { "the interval must be at least an hour, not $hours" }
            val network = if (unmeteredOnly) NetworkType.UNMETERED else NetworkType.CONNECTED
            val constraints = Constraints.Builder().setRequiredNetworkType(network).setRequiresBatteryNotLow(true)
            val request = PeriodicWorkRequest.Builder(worker, hours.toLong(), TimeUnit.HOURS)
                .setConstraints(constraints.build()).build()
            val keep = ExistingPeriodicWorkPolicy.KEEP
            WorkManager.getInstance(context).enqueueUniquePeriodicWork(worker.name, keep, request)
        }
    }
}
