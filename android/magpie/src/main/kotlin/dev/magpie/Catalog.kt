package dev.magpie

import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.channelFlow
import kotlinx.coroutines.flow.flowOn
import kotlinx.coroutines.withContext
import java.io.File
import java.time.Instant
import dev.magpie.internal.CatalogStore as RustStore
import dev.magpie.internal.InstalledCatalog as RustInstalled

/**
 * A folder in which a catalogue is installed, and kept up to date from a publisher's signed releases.
 *
 * ```kotlin
 * val catalog = Catalog.open(File(context.noBackupFilesDir, "catalog"))
 * val options = UpdateOptions(modelFolder, connectivity = { context.connectivity }, mostMeteredBytes = 5_000_000)
 * catalog.update(ReleaseServer("https://shop.example/release"), Trust(listOf(KEY)), options).collect { progress ->
 *     when (progress) {
 *         is UpdateProgress.Downloading -> show(progress.received, progress.total)
 *         is UpdateProgress.Installed -> engine.replaceCatalog(catalog)
 *         is UpdateProgress.Postponed -> waitForWifi(progress.bytes)
 *     }
 * }
 * ```
 *
 * Whatever fails, and whenever the process ends, the old catalogue is installed or the new one, whole. Any number of
 * objects and processes may use the same folder; one of them updates it at a time. Engines keep searching meanwhile.
 */
public class Catalog private constructor(
    /** The folder. */
    public val folder: File,
    private val dispatcher: CoroutineDispatcher,
) {
    internal val rust: RustStore = translated { RustStore.at(folder.path) }

    /**
     * Returns what is installed, or null. Reads one small file.
     *
     * @throws MagpieException.Catalog if something else has changed the files: update with [UpdateOptions.repair]
     */
    public suspend fun current(): InstalledCatalog? =
        withContext(dispatcher) { translated { rust.current()?.public() } }

    /**
     * Reads every byte of what is installed and compares it with the publisher's manifest; with [trust], also checks
     * the signatures again.
     *
     * @throws MagpieException.Catalog if it is damaged, or nothing is installed: update with [UpdateOptions.repair]
     * @throws MagpieException.Untrusted if too few of the keys have signed it
     */
    public suspend fun verify(trust: Trust? = null): InstalledCatalog = withContext(dispatcher) {
        translated { rust.verify(trust?.keys.orEmpty(), (trust?.threshold ?: 1).toUInt()).public() }
    }

    /**
     * Updates to what [server] publishes now. The update runs while the flow is collected. It ends with
     * [UpdateProgress.Installed] or [UpdateProgress.Postponed]; a slow collector misses some of what comes before.
     * Cancelling the collector ends the update and keeps what was received: the next one goes on from there, also in
     * another process.
     *
     * Only what is missing is downloaded. A request that brings nothing is tried three times.
     *
     * @throws MagpieException.Untrusted if the release is not signed by the publisher: do not use this server
     * @throws MagpieException.Outdated if it has expired, or a later one was seen before: try again later
     * @throws MagpieException.NotForThisApp if it is another catalogue, or for another model and without a pack of it
     * @throws MagpieException.Download if the server cannot be reached, or sends something else than the release
     * @throws MagpieException.NoSpace if there is too little free space; this is checked before the first download
     * @throws MagpieException.Busy while another update of this folder is under way
     * @throws MagpieException.Catalog if the release cannot be opened; it is not installed then
     */
    public fun update(
        server: ReleaseServer,
        trust: Trust,
        options: UpdateOptions = UpdateOptions(),
    ): Flow<UpdateProgress> = channelFlow<UpdateProgress> {
        val rustOptions = translated { options.rust(trust) }
        translated { rust.update(rustOptions) }.use { update ->
            try {
                send(Updating(update, folder, options, ReleaseRequests(server, options)) { trySend(it) }.run())
            } finally {
                // `close` alone would wait for an abandoned request that is in the middle of a call.
                update.end()
            }
        }
    }.buffer(Channel.CONFLATED).flowOn(dispatcher)

    override fun toString(): String = "Catalog($folder)"

    public companion object {
        /**
         * A folder for one catalogue and nothing else, which need not exist. Does not read it yet.
         *
         * @param folder on Android a folder in `noBackupFilesDir`: a backup would bring back an old catalogue
         * @param dispatcher runs the catalogue's calls, which read and write files
         * @throws MagpieException.Unsupported if there is no native library for this CPU
         */
        public fun open(folder: File, dispatcher: CoroutineDispatcher = Dispatchers.IO): Catalog =
            Catalog(folder, dispatcher)
    }
}

/**
 * A catalogue that is installed.
 *
 * @property name name of the catalogue
 * @property sequence publication number: each publication has a higher one than those before
 * @property issued when it was signed
 * @property expires when it expires; an expired catalogue still opens, whether to show it is up to the app
 * @property modelId the model that it was built with: 64 hexadecimal digits
 * @property hasPack whether the model pack came with it, so that the app's own is not needed
 * @property deltas number of deltas besides its base
 */
public data class InstalledCatalog(
    val name: String,
    val sequence: Long,
    val issued: Instant = Instant.EPOCH,
    val expires: Instant = Instant.MAX,
    val modelId: String = "",
    val hasPack: Boolean = false,
    val deltas: Int = 0,
)

internal fun RustInstalled.public(): InstalledCatalog = InstalledCatalog(
    name = catalog,
    sequence = sequence.toLong(),
    issued = Instant.ofEpochSecond(issued.toLong()),
    expires = Instant.ofEpochSecond(expires.toLong()),
    modelId = modelId,
    hasPack = hasPack,
    deltas = deltas.toInt(),
)
