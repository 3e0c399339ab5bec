package dev.magpie.sample

import android.Manifest
import android.app.Activity
import android.content.Intent
import android.content.pm.PackageManager
import android.graphics.SurfaceTexture
import android.hardware.camera2.CameraAccessException
import android.net.Uri
import android.os.Build
import android.os.Bundle
import android.os.PowerManager
import android.view.Surface
import android.view.TextureView
import dev.magpie.Frame
import dev.magpie.LiveUpdate
import dev.magpie.MagpieException
import dev.magpie.PowerHint
import dev.magpie.SearchEngine
import dev.magpie.SearchOptions
import dev.magpie.android.search
import dev.magpie.live
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.cancel
import kotlinx.coroutines.launch
import java.io.IOException

/** Shows the camera's picture, and below it the listings most similar to what is in the box. */
class MainActivity : Activity() {
    private val scope = CoroutineScope(Job() + Dispatchers.Main)
    private lateinit var screen: Screen
    private var looking: Job? = null

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        screen = Screen(
            this,
            openPhoto = {
                val pick = Intent(Intent.ACTION_GET_CONTENT).setType("image/*").addCategory(Intent.CATEGORY_OPENABLE)
                startActivityForResult(pick, PHOTO)
            },
            openBenchmark = { startActivity(Intent(this, BenchmarkActivity::class.java)) },
            resume = { look() },
        )
        setContentView(screen.root)
        screen.preview.surfaceTextureListener = object : TextureView.SurfaceTextureListener {
            override fun onSurfaceTextureAvailable(surface: SurfaceTexture, width: Int, height: Int) = look()

            override fun onSurfaceTextureSizeChanged(surface: SurfaceTexture, width: Int, height: Int) = Unit

            override fun onSurfaceTextureDestroyed(surface: SurfaceTexture) = true

            override fun onSurfaceTextureUpdated(surface: SurfaceTexture) = Unit
        }
        work { engine -> screen.chips.offer(engine.words(CHIPS)) }
        if (checkSelfPermission(Manifest.permission.CAMERA) != PackageManager.PERMISSION_GRANTED) {
            requestPermissions(arrayOf(Manifest.permission.CAMERA), CAMERA)
        }
    }

    override fun onStart() {
        super.onStart()
        look()
    }

    override fun onStop() {
        // Cancelling closes the camera and stops the running search.
        looking?.cancel()
        super.onStop()
    }

    override fun onDestroy() {
        scope.cancel()
        super.onDestroy()
    }

    override fun onRequestPermissionsResult(request: Int, permissions: Array<out String>, granted: IntArray) {
        super.onRequestPermissionsResult(request, permissions, granted)
        if (granted.firstOrNull() == PackageManager.PERMISSION_GRANTED) look() else screen.say("Pick a photo instead.")
    }

    @Deprecated("The replacement is in a library that this sample avoids.")
    override fun onActivityResult(request: Int, result: Int, data: Intent?) {
        val photo = data?.data
        if (request == PHOTO && result == RESULT_OK && photo != null) find(photo)
    }

    /** Searches with the camera's frames until cancelled. */
    private fun look() {
        val texture = screen.preview.surfaceTexture ?: return
        if (checkSelfPermission(Manifest.permission.CAMERA) != PackageManager.PERMISSION_GRANTED) return
        val before = looking
        looking = work { engine ->
            // The camera can only be opened once at a time.
            before?.cancel()
            before?.join()
            texture.setDefaultBufferSize(FRAME_WIDTH, FRAME_HEIGHT)
            val surface = Surface(texture)
            try {
                engine.live(cameraFrames(surface), power = ::power, options = ::options).collect { update ->
                    when (update) {
                        is LiveUpdate.Found -> show(engine, update)
                        is LiveUpdate.PassedOver -> screen.say(hint(update.reason))
                    }
                }
            } finally {
                surface.release()
            }
        }
    }

    /** Searches with a photo. The camera resumes when its button is pressed. */
    private fun find(photo: Uri) {
        looking?.cancel()
        work { engine ->
            val results = engine.search(this, photo, SearchOptions(filter = screen.chips.filter(CHIPS)))
            screen.results.show(engine, results.listings)
            screen.say("Searched with your photo in ${results.times.total}.")
        }
    }

    private suspend fun show(engine: SearchEngine, found: LiveUpdate.Found) {
        screen.results.show(engine, found.listings)
        val looks = found.results.attributes.filter { it.probability > SURE }.mapNotNull { it.label }.joinToString()
        val match = if (found.results.confidence?.enough == false) "No good match · " else ""
        screen.say("$match$looks · ${found.results.times.total}")
    }

    private fun options(frame: Frame) =
        SearchOptions(crop = screen.box.crop(frame), filter = screen.chips.filter(CHIPS))

    private fun power(): PowerHint {
        val manager = getSystemService(PowerManager::class.java)
        val status = if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q) manager.currentThermalStatus else 0
        return when {
            status >= PowerManager.THERMAL_STATUS_SEVERE -> PowerHint.HOT
            manager.isPowerSaveMode -> PowerHint.SAVING
            else -> PowerHint.NORMAL
        }
    }

    /** What the user can do about it, or null if there is nothing to do. */
    private fun hint(reason: LiveUpdate.Reason): String? = when (reason) {
        LiveUpdate.Reason.DARK -> "More light, please."
        LiveUpdate.Reason.MOVING -> "Hold still."
        LiveUpdate.Reason.BLURRED -> "Nothing in focus."
        else -> null
    }

    private fun work(task: suspend (SearchEngine) -> Unit): Job = scope.launch {
        try {
            task(Store.engine(this@MainActivity))
        } catch (e: MagpieException) {
            screen.say("Failed: ${e.message}")
        } catch (e: IOException) {
            screen.say("Camera: ${e.message}")
        } catch (e: CameraAccessException) {
            screen.say("Camera: ${e.message}")
        }
    }

    private companion object {
        const val CAMERA = 1
        const val PHOTO = 2

        /** The column whose words are the chips. */
        const val CHIPS = "category"

        /** Attributes with a lower probability are not shown. */
        const val SURE = 0.5f
    }
}
