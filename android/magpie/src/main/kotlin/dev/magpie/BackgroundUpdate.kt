package dev.magpie

import kotlinx.coroutines.flow.last

/** How an update in the background ended, as schedulers want to know it. */
public enum class BackgroundUpdate {
    /** The catalogue is what the server publishes now. */
    DONE,

    /** Nothing has changed; it may help to try again, earlier than usual: the network, the server, or space. */
    LATER,

    /** Nothing has changed, and it will not help to try again with this version of the app. */
    FAILED,
}

/**
 * Updates without showing progress, for a worker of the app's scheduler.
 *
 * ```kotlin
 * class CatalogWorker(context: Context, parameters: WorkerParameters) : CoroutineWorker(context, parameters) {
 *     override suspend fun doWork(): Result = when (catalog.updateInBackground(server, trust, options)) {
 *         BackgroundUpdate.DONE -> Result.success()
 *         BackgroundUpdate.LATER -> Result.retry()
 *         BackgroundUpdate.FAILED -> Result.failure()
 *     }
 * }
 * ```
 *
 * A worker that is stopped loses nothing: the next one goes on from there. It may run in a process of its own.
 *
 * @param report receives why an update failed, for the app's crash reports
 */
public suspend fun Catalog.updateInBackground(
    server: ReleaseServer,
    trust: Trust,
    options: UpdateOptions = UpdateOptions(),
    report: (MagpieException) -> Unit = {},
): BackgroundUpdate = try {
    when (update(server, trust, options).last()) {
        is UpdateProgress.Postponed -> BackgroundUpdate.LATER
        else -> BackgroundUpdate.DONE
    }
} catch (e: MagpieException) {
    report(e)
    when (e) {
        is MagpieException.Download, is MagpieException.Outdated, is MagpieException.Busy,
        is MagpieException.NoSpace, is MagpieException.File,
        -> BackgroundUpdate.LATER

        else -> BackgroundUpdate.FAILED
    }
}
