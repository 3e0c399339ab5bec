package dev.magpie

import java.io.File
import java.time.Clock
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import dev.magpie.internal.UpdateOptions as RustOptions

/**
 * The publisher's public keys that an app pins.
 *
 * ```kotlin
 * val trust = Trust(listOf("1f0c…")) // the contents of shop.key.pub
 * ```
 *
 * @property keys the keys, 64 hexadecimal digits each
 * @property threshold how many of them have to have signed
 */
public data class Trust(val keys: List<String>, val threshold: Int = 1) {
    init {
        require(keys.all { digits.matches(it) }) { "a public key has 64 hexadecimal digits in lower case" }
        require(threshold in 1..keys.distinct().size) { "$threshold signatures of ${keys.distinct().size} keys" }
    }

    private companion object {
        val digits = Regex("[0-9a-f]{64}")
    }
}

/**
 * How to update a [Catalog].
 *
 * @property modelFolder the app's own model pack: a release of another model has to bring its pack; null takes any
 * model
 * @property name the catalogue's name; null for the one that is installed, and for any while none is
 * @property bundledCatalog a shard that comes with the app: if the release needs this very file, it is copied instead
 * of downloaded
 * @property connectivity the network now, asked before each file; on Android, `{ context.connectivity }`
 * @property mostMeteredBytes the largest download on a metered network, in bytes; a larger one is postponed
 * @property keepFree free space that an update leaves, in bytes
 * @property repair reads what is installed, and downloads again what is damaged
 * @property patience how long connecting, and each wait for more bytes, may take
 * @property clock tells whether a release has expired; replace it if the app knows the time better than the phone
 */
public data class UpdateOptions(
    val modelFolder: File? = null,
    val name: String? = null,
    val bundledCatalog: File? = null,
    val connectivity: () -> Connectivity = { Connectivity.UNMETERED },
    val mostMeteredBytes: Long = Long.MAX_VALUE,
    val keepFree: Long = 32L shl 20,
    val repair: Boolean = false,
    val patience: Duration = 60.seconds,
    val clock: Clock = Clock.systemUTC(),
) {
    init {
        require(mostMeteredBytes >= 0 && keepFree >= 0) { "$mostMeteredBytes and $keepFree bytes" }
        require(patience.isPositive()) { "the patience must be positive, not $patience" }
    }

    internal fun rust(trust: Trust): RustOptions = RustOptions(
        trustedKeys = trust.keys,
        threshold = trust.threshold.toUInt(),
        catalog = name,
        modelId = modelFolder?.let { dev.magpie.internal.modelId(it.path) },
        bundledCatalog = bundledCatalog?.path,
        repair = repair,
    )
}

/** What has become of an update. */
public sealed interface UpdateProgress {
    /**
     * Files are being downloaded.
     *
     * @property received bytes that this update has received
     * @property total bytes that it has to receive; what earlier ones have received is not counted
     */
    public data class Downloading(val received: Long, val total: Long) : UpdateProgress

    /**
     * The update is finished. Pass it on with [SearchEngine.replaceCatalog].
     *
     * @property catalog what is installed now
     * @property isNew false if it was installed before
     */
    public data class Installed(val catalog: InstalledCatalog, val isNew: Boolean) : UpdateProgress

    /**
     * The update has ended without effect, because there is no network, or because it is metered and more has to be
     * downloaded than the options allow. What was received is kept.
     *
     * @property bytes what is left to download; 0 if that is not known
     */
    public data class Postponed(val bytes: Long) : UpdateProgress
}
