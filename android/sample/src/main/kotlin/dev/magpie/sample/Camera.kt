package dev.magpie.sample

import android.annotation.SuppressLint
import android.content.Context
import android.graphics.ImageFormat
import android.hardware.camera2.CameraCaptureSession
import android.hardware.camera2.CameraCharacteristics
import android.hardware.camera2.CameraDevice
import android.hardware.camera2.CameraManager
import android.hardware.camera2.CaptureRequest
import android.media.ImageReader
import android.os.Handler
import android.os.HandlerThread
import android.view.Surface
import dev.magpie.Frame
import dev.magpie.android.frames
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.emitAll
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.suspendCancellableCoroutine
import java.io.IOException
import kotlin.coroutines.resume
import kotlin.coroutines.resumeWithException

/** Size of the frames as the sensor delivers them; the preview has the same size, so the crop box fits both. */
internal const val FRAME_WIDTH = 1280
internal const val FRAME_HEIGHT = 720

/** Opens the back camera, shows its picture on a surface and emits its frames until the collector stops. */
@SuppressLint("MissingPermission") // The activity has asked for it.
internal fun Context.cameraFrames(preview: Surface): Flow<Frame> = flow {
    val manager = getSystemService(CameraManager::class.java)
    val back = manager.cameraIdList.firstOrNull { id ->
        val facing = manager.getCameraCharacteristics(id).get(CameraCharacteristics.LENS_FACING)
        facing == CameraCharacteristics.LENS_FACING_BACK
    } ?: throw IOException("there is no back camera")
    // The activities are locked to portrait, so the sensor's orientation is the whole rotation.
    val rotation = manager.getCameraCharacteristics(back).get(CameraCharacteristics.SENSOR_ORIENTATION) ?: 0
    val thread = HandlerThread("camera").apply { start() }
    val handler = Handler(thread.looper)
    try {
        ImageReader.newInstance(FRAME_WIDTH, FRAME_HEIGHT, ImageFormat.YUV_420_888, 2).use { reader ->
            manager.open(back, handler).use { camera ->
                camera.show(listOf(preview, reader.surface), handler)
                emitAll(reader.frames(handler) { rotation })
            }
        }
    } finally {
        thread.quitSafely()
    }
}

@SuppressLint("MissingPermission")
private suspend fun CameraManager.open(id: String, handler: Handler): CameraDevice =
    suspendCancellableCoroutine { opened ->
        val callback = object : CameraDevice.StateCallback() {
            override fun onOpened(camera: CameraDevice) {
                if (opened.isActive) opened.resume(camera) else camera.close()
            }

            override fun onDisconnected(camera: CameraDevice) {
                camera.close()
                if (opened.isActive) opened.resumeWithException(IOException("another app has taken the camera"))
            }

            override fun onError(camera: CameraDevice, error: Int) {
                camera.close()
                if (opened.isActive) opened.resumeWithException(IOException("the camera failed with code $error"))
            }
        }
        openCamera(id, callback, handler)
    }

/** Sends the camera's picture to the surfaces until the camera is closed. */
@Suppress("DEPRECATION") // The replacement needs Android 9.
private suspend fun CameraDevice.show(surfaces: List<Surface>, handler: Handler) {
    val session = suspendCancellableCoroutine<CameraCaptureSession> { configured ->
        val callback = object : CameraCaptureSession.StateCallback() {
            override fun onConfigured(session: CameraCaptureSession) {
                if (configured.isActive) configured.resume(session)
            }

            override fun onConfigureFailed(session: CameraCaptureSession) {
                if (configured.isActive) configured.resumeWithException(IOException("the camera rejects the sizes"))
            }
        }
        createCaptureSession(surfaces, callback, handler)
    }
    val request = createCaptureRequest(CameraDevice.TEMPLATE_PREVIEW)
    surfaces.forEach { request.addTarget(it) }
    request.set(CaptureRequest.CONTROL_AF_MODE, CaptureRequest.CONTROL_AF_MODE_CONTINUOUS_PICTURE)
    session.setRepeatingRequest(request.build(), null, handler)
}
