<?php
/*
 * One request's front controller, run by PHP of the command line for `wpaudit triage`, in a process of its own that may crash.
 * It writes nothing: the database's gate is the agent's own (state.php), files are written into memory, and
 * mails, outgoing requests, cron and commands stay undone. What has to be said goes to descriptor 3, as JSON lines.
 *
 * Wpaudit_Wanted::settings(), written by wpaudit, holds the path, the request's server variables and cookies.
 */

final class Wpaudit_Inside {
	private static $report   = null;
	private static $reported = false;
	private static $wanted   = array();
	private static $tape     = null; // of the flight recorder
	private static $plugins  = array();

	public static function boot( $wanted ) {
		self::$wanted = $wanted;
		self::$report = fopen( 'php://fd/3', 'wb' );
		register_shutdown_function( array( __CLASS__, 'end' ) );
		self::dress();
		self::plant();
		self::quiet();
		Wpaudit_Paper::cover();
	}

	/* The superglobals of the request. */
	private static function dress() {
		$decoded = array();
		foreach ( self::$wanted['server'] as $name => $value ) {
			$decoded[ $name ] = base64_decode( $value );
		}
		$_SERVER = $decoded + array( 'REQUEST_TIME' => time(), 'REQUEST_TIME_FLOAT' => microtime( true ) );
		$_GET    = array();
		$_POST   = array();
		$_COOKIE = array();
		parse_str( isset( $_SERVER['QUERY_STRING'] ) ? $_SERVER['QUERY_STRING'] : '', $_GET );
		foreach ( self::$wanted['cookies'] as $pair ) {
			$_COOKIE[ base64_decode( $pair[0] ) ] = urldecode( base64_decode( $pair[1] ) );
		}
		$_REQUEST = $_GET + $_COOKIE;
	}

	/* Filters that WordPress takes over when it starts (WP_Hook::build_preinitialized_hooks). */
	private static function plant() {
		$last  = PHP_INT_MAX;
		$class = __CLASS__;
		$hooks = array(
			'query'                      => array( 'Wpaudit_State', 'gate' ),
			'pre_get_ready_cron_jobs'    => array( $class, 'nothing' ),
			'pre_wp_mail'                => array( $class, 'sent' ),
			'pre_http_request'           => array( $class, 'unsent' ),
			'enable_wp_debug_mode_checks' => array( $class, 'no' ), // it would write its log by itself
			'wp_redirect'                => array( $class, 'redirected' ),
			'pre_option'                 => array( $class, 'cached' ),
			'pre_wp_load_alloptions'     => array( $class, 'cached' ),
		);
		foreach ( $hooks as $name => $callback ) {
			$GLOBALS['wp_filter'][ $name ][ $last ][] = array( 'function' => $callback, 'accepted_args' => 'query' === $name ? 1 : 3 );
		}
		$GLOBALS['wp_filter']['query'][ $last ][] = array( 'function' => array( $class, 'queried' ), 'accepted_args' => 1 );
		foreach ( self::$wanted['record'] ? array( 'mu_plugin_loaded', 'pre_site_option_active_sitewide_plugins', 'muplugins_loaded' ) : array() as $name ) {
			$GLOBALS['wp_filter'][ $name ][ -$last ][] = array( 'function' => array( $class, 'record' ), 'accepted_args' => 1 );
		}
	}

	/* Start the flight recorder in the first hook that comes when WordPress knows where plugins are. Its file stays in memory. */
	public static function record( $said = null ) {
		if ( self::$tape || ! isset( $GLOBALS['wp_plugin_paths'] ) ) {
			return $said;
		}
		self::$tape    = fopen( 'php://memory', 'w+b' );
		$sitewide      = get_site_option( 'active_sitewide_plugins' );
		$own           = get_option( 'active_plugins' );
		$files         = array_merge( is_array( $sitewide ) ? array_keys( $sitewide ) : array(), is_array( $own ) ? $own : array() );
		self::$plugins = array_map( 'base64_encode', array_values( array_filter( $files, 'is_string' ) ) );
		Wpaudit_Recorder_inside::start( self::$tape, self::$plugins, array( __FILE__ ) );
		Wpaudit_Recorder_inside::before( current_filter(), $said ); // it could not be told of the hook that starts it
		return $said;
	}

	/* What was recorded, in pieces, since a line of ours may not be long. */
	private static function hand_in() {
		Wpaudit_Recorder_inside::ended();
		rewind( self::$tape );
		$text = str_replace( "\0", '', stream_get_contents( self::$tape ) );
		$said = json_encode( array( 'plugins' => self::$plugins, 'tape' => base64_encode( $text ) ) );
		foreach ( array_slice( str_split( $said, 1200 ), 0, 85 ) as $i => $piece ) {
			self::say( sprintf( 'tape %03d', $i ), $piece );
		}
	}

	public static function nothing() {
		return array();
	}

	public static function no() {
		return false;
	}

	public static function sent() {
		return false;
	}

	public static function unsent( $before, $arguments, $url ) {
		if ( self::$tape ) {
			Wpaudit_Tape_inside::requested( Wpaudit_Tape_inside::clean( (string) wp_parse_url( (string) $url, PHP_URL_HOST ), 80 ), 0.0 );
		}
		return new WP_Error( 'http_request_not_executed', 'wpaudit lets no request out of this look' );
	}

	public static function redirected( $location ) {
		self::say( 'location', (string) $location );
		return $location;
	}

	/* Writes to a persistent object cache stay in this process. */
	public static function cached( $value ) {
		global $wp_object_cache;
		$there = isset( $wp_object_cache ) && is_object( $wp_object_cache ) && ! $wp_object_cache instanceof Wpaudit_Cache_inside;
		if ( $there && function_exists( 'wp_using_ext_object_cache' ) && wp_using_ext_object_cache() ) {
			$wp_object_cache = new Wpaudit_Cache_inside( $wp_object_cache );
		}
		return $value;
	}

	/* The second query proves that the first one was answered, unless it left an error. */
	public static function queried( $query ) {
		global $wpdb;
		static $count = 0;
		self::cached( null ); // what is read from the database is what goes into a cache
		if ( 2 === ++$count ) {
			self::say( 'database', is_object( $wpdb ) && ! empty( $wpdb->ready ) && '' === (string) $wpdb->last_error );
		}
		if ( 1 === $count && isset( $wpdb->dbh ) && $wpdb->dbh instanceof mysqli ) {
			@mysqli_query( $wpdb->dbh, 'START TRANSACTION READ ONLY' ); // for code that talks to the connection directly
		}
		return $query;
	}

	public static function say( $key, $value ) {
		if ( 'database' === $key ) {
			self::$reported = true;
		}
		@fwrite( self::$report, json_encode( array( 'key' => $key, 'value' => is_string( $value ) ? base64_encode( $value ) : $value ) ) . "\n" );
		@fflush( self::$report );
	}

	/* The first shutdown function sees the page's status only at the very end, so it comes again as the last one. */
	public static function end( $last = false ) {
		global $wpdb;
		if ( ! $last ) {
			register_shutdown_function( array( __CLASS__, 'end' ), true );
			return;
		}
		if ( ! self::$reported && is_object( $wpdb ) ) {
			self::say( 'database', ! empty( $wpdb->ready ) && '' === (string) $wpdb->last_error );
		}
		$error = error_get_last();
		if ( $error && ( $error['type'] & ( E_ERROR | E_PARSE | E_CORE_ERROR | E_COMPILE_ERROR | E_USER_ERROR | E_RECOVERABLE_ERROR ) ) ) {
			self::say( 'fatal', substr( $error['message'], 0, 1000 ) . ' in ' . $error['file'] . ':' . $error['line'] );
		}
		if ( self::$tape ) {
			self::hand_in();
		}
		self::say( 'code', (int) http_response_code() );
		self::say( 'loaded', function_exists( 'did_action' ) && did_action( 'wp_loaded' ) > 0 );
	}

	/* Ways out that are neither files nor the database. */
	private static function quiet() {
		foreach ( array_intersect( array( 'http', 'https', 'ftp', 'ftps' ), stream_get_wrappers() ) as $name ) {
			stream_wrapper_unregister( $name );
		}
		if ( class_exists( 'Wpaudit_Session', false ) ) {
			session_set_save_handler( new Wpaudit_Session(), true );
		}
	}
}

/* Sessions that nobody finds again. */
if ( interface_exists( 'SessionHandlerInterface' ) ) {
	final class Wpaudit_Session implements SessionHandlerInterface {
		#[\ReturnTypeWillChange]
		public function open( $path, $name ) {
			return true;
		}

		#[\ReturnTypeWillChange]
		public function close() {
			return true;
		}

		#[\ReturnTypeWillChange]
		public function read( $id ) {
			return '';
		}

		#[\ReturnTypeWillChange]
		public function write( $id, $data ) {
			return true;
		}

		#[\ReturnTypeWillChange]
		public function destroy( $id ) {
			return true;
		}

		#[\ReturnTypeWillChange]
		public function gc( $seconds ) {
			return 0;
		}
	}
}

/* PHP 8 lets switched-off functions be written anew; PHP 7 warns where they are called. */
if ( PHP_VERSION_ID >= 80000 ) {
	foreach ( array( 'exec', 'shell_exec', 'system', 'passthru', 'popen', 'proc_open', 'pcntl_exec', 'pcntl_fork', 'posix_kill', 'mail', 'mb_send_mail', 'symlink', 'link', 'fsockopen', 'pfsockopen', 'stream_socket_client', 'stream_socket_server', 'curl_exec', 'curl_multi_exec', 'dl' ) as $wpaudit_name ) {
		if ( ! function_exists( $wpaudit_name ) ) {
			eval( "function $wpaudit_name( ...\$arguments ) { return false; }" );
		}
	}
	if ( ! function_exists( 'tempnam' ) ) {
		function tempnam( $directory, $prefix ) {
			$name = rtrim( $directory, '/' ) . '/' . basename( $prefix ) . bin2hex( random_bytes( 3 ) );
			return touch( $name ) ? $name : false;
		}
	}
	if ( ! function_exists( 'ini_set' ) && function_exists( 'ini_alter' ) ) {
		function ini_set( $option, $value ) {
			return in_array( $option, array( 'error_log', 'session.save_handler', 'session.save_path' ), true ) ? ini_get( $option ) : ini_alter( $option, $value );
		}
	}
}

chdir( base64_decode( Wpaudit_Wanted::settings()['path'] ) );
Wpaudit_Inside::boot( Wpaudit_Wanted::settings() );
require base64_decode( Wpaudit_Wanted::settings()['path'] ) . '/' . base64_decode( Wpaudit_Wanted::settings()['script'] );
