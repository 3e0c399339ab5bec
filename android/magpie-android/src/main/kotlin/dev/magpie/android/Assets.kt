package dev.magpie.android

import android.content.Context
import android.content.res.AssetManager
import android.os.Build
import android.os.Process
import dev.magpie.AppFiles
import dev.magpie.BundledBase
import dev.magpie.Catalog
import dev.magpie.Installation
import dev.magpie.MagpieException
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.withContext
import java.io.File
import java.io.IOException
import java.io.InputStream

/** The ABIs that the library is built for. */
private val abis = listOf("arm64-v8a", "x86_64")

/**
 * Whether this process can search: the native library exists only for 64-bit ARM and x86. In other processes every call
 * throws [MagpieException.Unsupported].
 */
public val isMagpieSupported: Boolean
    get() = Process.is64Bit() && Build.SUPPORTED_64_BIT_ABIS.any { it in abis }

/**
 * Installs the catalogue and the model that are bundled with the app, unless that was done since the app's last update.
 *
 * ```kotlin
 * val engine = context.installMagpieAssets().open()
 * ```
 *
 * Assets are parts of the app's archive and cannot be memory-mapped, so they are copied to files excluded from backup.
 *
 * @param folder the asset folder with `catalog.magpie` and the folder `model`; see [Installation]
 * @throws MagpieException as [Installation.install]; [MagpieException.Unsupported] if the CPU is not supported
 */
public suspend fun Context.installMagpieAssets(folder: String = "magpie"): Installation {
    checkSupported()
    return withContext(Dispatchers.IO) {
        val files = assets.files(folder)
        // A new build of the app may bring different assets under the same version.
        val updated = packageManager.getPackageInfo(packageName, 0).lastUpdateTime
        Installation.install(File(noBackupFilesDir, "magpie"), "assets-$updated", files)
    }
}

/** The folder for a catalogue that is updated: not backed up, since a backup would bring back an old one. */
public fun Context.magpieCatalog(): Catalog = Catalog.open(File(noBackupFilesDir, "magpie-catalog"))

/**
 * Installs the model that is bundled with the app, and the base to start from as long as [catalog] has nothing usable.
 * What is there is not copied again when the app is updated.
 *
 * ```kotlin
 * val catalog = context.magpieCatalog()
 * val files = context.installMagpieFiles(catalog)
 * val engine = files.open(catalog)
 * ```
 *
 * @param folder the asset folder with the folder `model`, and the folder `base` with one shard or none: the release's
 * file of the base, under its name in the release, which is its hash
 * @throws MagpieException as [AppFiles.install]; [MagpieException.Unsupported] if the CPU is not supported
 */
public suspend fun Context.installMagpieFiles(catalog: Catalog, folder: String = "magpie"): AppFiles {
    checkSupported()
    return withContext(Dispatchers.IO) {
        val names = assets.names("$folder/${Installation.MODEL}").filter { "." in it }
        val model = names.associateWith { name -> { assets.open("$folder/${Installation.MODEL}/$name") } }
        val base = assets.names("$folder/base").singleOrNull()
        val bundled = base?.let { BundledBase(it) { assets.open("$folder/base/$it") } }
        AppFiles.install(File(noBackupFilesDir, "magpie-app"), catalog, model, bundled)
    }
}

private fun checkSupported() {
    if (isMagpieSupported) return
    val found = Build.SUPPORTED_ABIS.joinToString()
    throw MagpieException.Unsupported("visual search needs ${abis.joinToString(" or ")}, this device has $found")
}

/** The sources of the catalogue and the model's files. Subfolders of the model, such as golden cases, are skipped. */
private fun AssetManager.files(folder: String): Map<String, () -> InputStream> {
    val models = names("$folder/${Installation.MODEL}").filter { "." in it }.map { "${Installation.MODEL}/$it" }
    return (models + Installation.CATALOG).associateWith { name -> { open("$folder/$name") } }
}

private fun AssetManager.names(folder: String): List<String> = try {
    list(folder).orEmpty().toList()
} catch (e: IOException) {
    throw MagpieException.File("cannot read the assets in '$folder': ${e.message}", e)
}
