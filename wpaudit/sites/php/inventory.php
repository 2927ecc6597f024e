<?php
/* Reading: what is on the site, what speaks against whom. Nothing here changes anything. */

final class Wpaudit_Inventory {
	const LOG_TAIL = 262144; // bytes read from the end of each log

	public static function everything() {
		require_once ABSPATH . 'wp-admin/includes/plugin.php';
		require_once ABSPATH . 'wp-admin/includes/theme.php';
		return array(
			'facts'      => self::facts(),
			'components' => array_merge( self::plugins(), self::must_use(), self::dropins(), self::themes() ),
			'order'      => array_map( 'base64_encode', self::load_order() ),
			'run'        => Wpaudit_State::found(),
		);
	}

	private static function facts() {
		global $wpdb;
		return array(
			'wordpress'    => get_bloginfo( 'version' ),
			'php'          => PHP_VERSION,
			'multisite'    => is_multisite(),
			'blog'         => get_current_blog_id(),
			'url'          => Wpaudit_Agent::text( home_url() ),
			'path'         => Wpaudit_Agent::text( ABSPATH ),
			'user'         => Wpaudit_Agent::text( self::user() ),
			'database'     => Wpaudit_Agent::text( defined( 'DB_ENGINE' ) && 'sqlite' === DB_ENGINE ? 'SQLite' : 'MySQL ' . $wpdb->db_server_info() ),
			'object_cache' => (bool) wp_using_ext_object_cache(),
		);
	}

	private static function user() {
		$entry = function_exists( 'posix_getpwuid' ) ? posix_getpwuid( posix_geteuid() ) : false;
		return $entry ? $entry['name'] : get_current_user();
	}

	/* ---- plugins ---------------------------------------------------------------------------- */

	/* The files WordPress includes, in its order: wp_get_active_network_plugins(), wp_get_active_and_valid_plugins(). */
	public static function load_order() {
		$order = array();
		foreach ( array_merge( self::network_files(), self::active_files() ) as $file ) {
			if ( 0 === validate_file( $file ) && '.php' === substr( $file, -4 ) && is_file( WP_PLUGIN_DIR . '/' . $file ) ) {
				$order[ $file ] = true;
			}
		}
		return array_map( 'strval', array_keys( $order ) );
	}

	private static function network_files() {
		$files = is_multisite() ? array_map( 'strval', array_keys( (array) get_site_option( 'active_sitewide_plugins', array() ) ) ) : array();
		sort( $files );
		return $files;
	}

	private static function active_files() {
		return array_filter( (array) get_option( 'active_plugins', array() ), 'is_string' );
	}

	private static function plugins() {
		$network = array_fill_keys( self::network_files(), true );
		$active  = array_fill_keys( self::active_files(), true );
		$plugins = get_plugins();
		$updates = self::updates( 'update_plugins' );
		$rows    = array();
		foreach ( $plugins + array_fill_keys( array_keys( $network + $active ), array() ) as $file => $header ) {
			$file    = (string) $file;
			$status  = isset( $network[ $file ] ) ? 'network' : ( isset( $active[ $file ] ) ? 'active' : 'inactive' );
			$kind    = isset( $network[ $file ] ) ? 'network-plugin' : 'plugin';
			$present = is_file( WP_PLUGIN_DIR . '/' . $file );
			$rows[]  = self::component( $file, $kind, $present ? $status : 'missing', $header, WP_PLUGIN_DIR . '/' . $file, $updates );
		}
		return $rows;
	}

	private static function component( $id, $kind, $status, $header, $where, $updates = array() ) {
		$header += array( 'Name' => '', 'Version' => '', 'RequiresWP' => '', 'RequiresPHP' => '', 'RequiresPlugins' => '' );
		$update  = isset( $updates[ $id ] ) ? $updates[ $id ] : '';
		return array(
			'id'       => base64_encode( $id ),
			'kind'     => $kind,
			'status'   => $status,
			'name'     => Wpaudit_Agent::text( $header['Name'] ),
			'version'  => Wpaudit_Agent::text( $header['Version'] ),
			'wp'       => Wpaudit_Agent::text( $header['RequiresWP'] ),
			'php'      => Wpaudit_Agent::text( $header['RequiresPHP'] ),
			'plugins'  => Wpaudit_Agent::text( $header['RequiresPlugins'] ),
			'update'   => Wpaudit_Agent::text( $update ),
			'where'    => base64_encode( $where ),
			'modified' => (int) @filemtime( $where ),
		);
	}

	/* What the site already knows; asking get_plugin_updates() could start a check. */
	private static function updates( $transient ) {
		$known = get_site_transient( $transient );
		$found = array();
		foreach ( is_object( $known ) && isset( $known->response ) ? (array) $known->response : array() as $id => $offer ) {
			$offer        = (array) $offer;
			$found[ $id ] = isset( $offer['new_version'] ) && is_string( $offer['new_version'] ) ? $offer['new_version'] : '';
		}
		return $found;
	}

	private static function must_use() {
		$rows = array();
		foreach ( get_mu_plugins() as $file => $header ) {
			$rows[] = self::component( (string) $file, 'must-use', 'must-use', $header, WPMU_PLUGIN_DIR . '/' . $file );
		}
		return $rows;
	}

	private static function dropins() {
		$rows = array();
		foreach ( get_dropins() as $file => $header ) {
			$rows[] = self::component( (string) $file, 'drop-in', 'drop-in', $header, WP_CONTENT_DIR . '/' . $file );
		}
		return $rows;
	}

	/* wp_get_themes() keeps in a transient where it looked, for half an hour; where there was none, none is left. */
	private static function installed_themes( $arguments = array() ) {
		$known  = get_site_transient( 'theme_roots' );
		$themes = wp_get_themes( $arguments );
		if ( false === $known ) {
			delete_site_transient( 'theme_roots' );
		}
		return $themes;
	}

	private static function themes() {
		$updates = self::updates( 'update_themes' );
		$rows    = array();
		foreach ( self::installed_themes( array( 'errors' => null ) ) as $directory => $theme ) {
			$header = array( 'Name' => $theme->get( 'Name' ), 'Version' => $theme->get( 'Version' ), 'RequiresWP' => $theme->get( 'RequiresWP' ), 'RequiresPHP' => $theme->get( 'RequiresPHP' ) );
			$status = get_stylesheet() === (string) $directory ? 'active' : ( get_template() === (string) $directory ? 'parent' : 'inactive' );
			$rows[] = self::component( (string) $directory, 'theme', $status, array_filter( $header ), $theme->get_stylesheet_directory(), $updates );
		}
		return $rows;
	}

	/* An installed theme to stand in for the active one: the default, else the newest of WordPress's own. */
	public static function other_theme() {
		$themes = array_map( 'strval', array_keys( self::installed_themes() ) );
		$own    = preg_grep( '/^twenty/', $themes );
		rsort( $own );
		array_unshift( $own, WP_DEFAULT_THEME );
		foreach ( array_intersect( $own, $themes ) as $theme ) {
			if ( get_stylesheet() !== $theme && get_template() !== $theme ) {
				return $theme;
			}
		}
		return '';
	}

	/* ---- evidence --------------------------------------------------------------------------- */

	/* Lines of the site's own logs that report a failure and name a plugin's file. */
	public static function evidence( $extra ) {
		$found = array();
		$gaps  = array();
		foreach ( self::logs( array_map( 'base64_decode', $extra ) ) as $path => $asked ) {
			if ( ! @is_readable( $path ) || ! is_file( $path ) ) {
				if ( $asked ) {
					$gaps[] = Wpaudit_Agent::text( $path );
				}
				continue;
			}
			foreach ( self::named( self::tail( $path ) ) as $slug => $hit ) {
				$found[] = array( 'slug' => base64_encode( $slug ), 'count' => $hit[0], 'line' => Wpaudit_Agent::text( $hit[1] ), 'log' => Wpaudit_Agent::text( $path ) );
			}
		}
		return array( 'found' => array_slice( $found, 0, 200 ), 'unreadable' => $gaps );
	}

	private static function logs( $extra ) {
		$logs = array(
			ini_get( 'error_log' ),
			WP_CONTENT_DIR . '/debug.log',
			ABSPATH . 'error_log',
			defined( 'WP_DEBUG_LOG' ) && is_string( WP_DEBUG_LOG ) ? WP_DEBUG_LOG : '',
			'/var/log/nginx/error.log',
			'/var/log/apache2/error.log',
			'/var/log/php' . PHP_MAJOR_VERSION . '.' . PHP_MINOR_VERSION . '-fpm.log',
		);
		return array_fill_keys( $extra, true ) + array_fill_keys( array_filter( $logs, 'strlen' ), false );
	}

	private static function tail( $path ) {
		$handle = @fopen( $path, 'rb' );
		if ( ! $handle ) {
			return '';
		}
		fseek( $handle, -min( self::LOG_TAIL, (int) filesize( $path ) ), SEEK_END );
		$text = (string) stream_get_contents( $handle, self::LOG_TAIL );
		fclose( $handle );
		return $text;
	}

	private static function named( $text ) {
		$hits = array();
		foreach ( explode( "\n", $text ) as $line ) {
			if ( ! preg_match( '/fatal|segfault|SIGSEGV|terminat|too big|uncaught|allowed memory|exit(ed)? on signal|slow/i', $line ) ) {
				continue;
			}
			if ( preg_match( '~/plugins/([^/\s:"\']+)~', $line, $match ) ) {
				$count               = isset( $hits[ $match[1] ] ) ? $hits[ $match[1] ][0] : 0;
				$hits[ $match[1] ] = array( $count + 1, substr( $line, 0, 300 ) );
			}
		}
		return $hits;
	}

	/* ---- a login for the probes ------------------------------------------------------------- */

	/* Cookies of a session that only the must-use plugin knows: no row is written for it. */
	public static function login( $name, $seconds ) {
		$user = get_user_by( 'login', $name );
		if ( ! $user ) {
			throw new Wpaudit_Refusal( 'no-user', 'there is no user "' . $name . '" on this site' );
		}
		$expires = time() + $seconds;
		$token   = wp_generate_password( 43, false, false );
		$cookies = array( LOGGED_IN_COOKIE => wp_generate_auth_cookie( $user->ID, $expires, 'logged_in', $token ) );
		$cookies[ AUTH_COOKIE ]        = wp_generate_auth_cookie( $user->ID, $expires, 'auth', $token );
		$cookies[ SECURE_AUTH_COOKIE ] = wp_generate_auth_cookie( $user->ID, $expires, 'secure_auth', $token );
		$verifier                      = hash( 'sha256', $token ); // WP_Session_Tokens::hash_token()
		Wpaudit_State::$login          = array( 'user' => $user->ID, 'verifier' => $verifier, 'expires' => $expires );
		return array( 'cookies' => $cookies );
	}
}
