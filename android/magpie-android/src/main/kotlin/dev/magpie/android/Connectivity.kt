package dev.magpie.android

import android.content.Context
import android.net.ConnectivityManager
import android.net.NetworkCapabilities
import dev.magpie.Connectivity

/**
 * The phone's current network, for [dev.magpie.AskOptions]. It changes, so read it for each search.
 *
 * ```kotlin
 * val results = engine.search(photo, shop, AskOptions(context.connectivity))
 * ```
 *
 * Needs the permission `ACCESS_NETWORK_STATE`. A network connection does not guarantee that the server can be reached.
 *
 * @throws SecurityException without the permission
 */
public val Context.connectivity: Connectivity
    get() {
        val manager = getSystemService(ConnectivityManager::class.java) ?: return Connectivity.OFFLINE
        val network = manager.getNetworkCapabilities(manager.activeNetwork)
        return when {
            network?.hasCapability(NetworkCapabilities.NET_CAPABILITY_INTERNET) != true -> Connectivity.OFFLINE
            network.hasCapability(NetworkCapabilities.NET_CAPABILITY_NOT_METERED) -> Connectivity.UNMETERED
            else -> Connectivity.METERED
        }
    }
