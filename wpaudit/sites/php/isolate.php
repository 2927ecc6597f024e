<?php
/*
 * Plugin Name: wpaudit (temporary)
 * Description: Put here by a running wpaudit. It switches plugins off for wpaudit's own signed requests only, and deletes itself.
 */

/*
 * The isolating must-use plugin: one copy per run, written by the agent with the four words in
 * double underscores replaced. A visitor's request passes through one time() and one isset().
 *
 * A probe carries "X-Wpaudit: v1;nonce;expires;mask;flags;hmac". Bit i of the mask (base64url, most
 * significant bit first) switches off suspect i of the run's configuration file. Flags are letters: "t" replaces the
 * theme by a default one, "r" asks for the flight recorder, "c" for the events of WP-Cron that are due (isolated mode only).
 * Nothing below is believed before the HMAC-SHA-256 (RFC 2104) over the first five fields is compared in constant time.
 *
 * PHP 7.2 and newer: the oldest that a supported WordPress runs on.
 */

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Wpaudit___TOKEN__ {
	const EXPIRES = __EXPIRES__;
	const LIVE    = __LIVE__;
	const DIR     = '__RUNDIR__';
	const KEEP    = "\x3c?php exit; ?>\n"; // first line of every data file: a web server that serves it runs this

	private static $config = array();
	private static $off    = array();
	private static $seen   = array();
	private static $nonce  = '';
	private static $record = false;
	private static $cron   = false;

	public static function boot() {
		if ( time() > self::EXPIRES ) {
			self::expire();
			return;
		}
		if ( self::LIVE ) {
			self::guard_everybody();
		}
		if ( isset( $_SERVER['HTTP_X_WPAUDIT'] ) && self::believed( $_SERVER['HTTP_X_WPAUDIT'] ) ) {
			self::mark( 'started' );
			self::switch_plugins();
			self::keep_to_ourselves();
			self::refuse_writes();
			self::record();
		}
	}

	/* ---- who is asking ---------------------------------------------------------------------- */

	private static function believed( $header ) {
		$fields = is_string( $header ) && strlen( $header ) < 4096 ? explode( ';', $header ) : array();
		if ( 6 !== count( $fields ) || 'v1' !== $fields[0] || ! preg_match( '/^[0-9a-f]{16,64}$/D', $fields[1] ) ) {
			return false;
		}
		self::$config = self::read( self::DIR . '/config.php' );
		if ( empty( self::$config['key'] ) ) {
			return false;
		}
		$expected = hash_hmac( 'sha256', implode( ';', array_slice( $fields, 0, 5 ) ), base64_decode( self::$config['key'] ) );
		if ( ! hash_equals( $expected, $fields[5] ) || time() > (int) $fields[2] ) {
			return false;
		}
		self::$nonce = $fields[1];
		self::$off   = self::unmask( $fields[3] );
		self::theme( false !== strpos( $fields[4], 't' ) );
		self::$record = false !== strpos( $fields[4], 'r' );
		self::$cron   = false !== strpos( $fields[4], 'c' ) && ! self::LIVE;
		return true;
	}

	private static function read( $path ) {
		$text = @file_get_contents( $path ); // silent: unreadable means inert
		$data = is_string( $text ) ? json_decode( substr( $text, strlen( self::KEEP ) ), true ) : null;
		return is_array( $data ) ? $data : array();
	}

	private static function unmask( $mask ) {
		$bits = base64_decode( strtr( $mask, '-_', '+/' ) );
		$off  = array();
		foreach ( self::$config['suspects'] as $i => $file ) {
			if ( isset( $bits[ $i >> 3 ] ) && ord( $bits[ $i >> 3 ] ) & ( 0x80 >> ( $i & 7 ) ) ) {
				$off[ base64_decode( $file ) ] = true;
			}
		}
		return $off;
	}

	/* ---- what is off ------------------------------------------------------------------------ */

	private static function switch_plugins() {
		if ( self::LIVE ) {
			return; // the rows themselves are switched
		}
		add_filter( 'option_active_plugins', array( __CLASS__, 'without_list' ), PHP_INT_MAX );
		add_filter( 'site_option_active_sitewide_plugins', array( __CLASS__, 'without_keys' ), PHP_INT_MAX );
		// Code that does update_option( 'active_plugins', f( get_option( 'active_plugins' ) ) ) would persist our
		// filtered list for everybody (it happened to Health Check). The old value makes the update a no-op.
		add_filter( 'pre_update_option_active_plugins', array( __CLASS__, 'unchanged' ), PHP_INT_MAX, 2 );
		add_filter( 'pre_update_site_option_active_sitewide_plugins', array( __CLASS__, 'unchanged' ), PHP_INT_MAX, 2 );
	}

	public static function without_list( $files ) {
		$kept = array();
		foreach ( is_array( $files ) ? $files : array() as $file ) {
			if ( isset( self::$off[ $file ] ) ) {
				self::$seen[ $file ] = true;
			} else {
				$kept[] = $file;
			}
		}
		return $kept;
	}

	public static function without_keys( $files ) {
		foreach ( is_array( $files ) ? array_keys( $files ) : array() as $file ) {
			if ( isset( self::$off[ $file ] ) ) {
				self::$seen[ $file ] = true;
				unset( $files[ $file ] );
			}
		}
		return $files;
	}

	public static function unchanged( $new, $old ) {
		return $old;
	}

	private static function theme( $replaced ) {
		if ( $replaced && '' !== self::$config['theme'] ) {
			add_filter( 'pre_option_template', array( __CLASS__, 'default_theme' ), PHP_INT_MAX );
			add_filter( 'pre_option_stylesheet', array( __CLASS__, 'default_theme' ), PHP_INT_MAX );
		}
	}

	public static function default_theme() {
		return self::$config['theme'];
	}

	/* ---- leave no trace --------------------------------------------------------------------- */

	private static function keep_to_ourselves() {
		foreach ( array( 'DONOTCACHEPAGE', 'DONOTCACHEOBJECT', 'DONOTCACHEDB', 'DONOTMINIFY', 'DONOTCDN', 'DISABLE_WP_CRON' ) as $name ) {
			defined( $name ) || define( $name, true );
		}
		add_filter( 'pre_get_ready_cron_jobs', array( __CLASS__, 'nothing' ), PHP_INT_MAX );
		add_filter( 'pre_wp_mail', '__return_true', PHP_INT_MAX ); // "sent": the fatal-error handler's e-mail among them
		add_filter( 'get_user_metadata', array( __CLASS__, 'session' ), PHP_INT_MAX, 4 );
		add_action( 'plugins_loaded', array( __CLASS__, 'loaded' ), PHP_INT_MIN );
		register_shutdown_function( array( __CLASS__, 'mark' ), 'ended' );
		if ( self::$cron ) {
			defined( 'DOING_CRON' ) || define( 'DOING_CRON', true );
			add_action( 'wp_loaded', array( __CLASS__, 'run_events' ), PHP_INT_MAX );
		}
	}

	/*
	 * What wp-cron.php does, which ends its answer before WordPress is loaded, so that nobody sees it fail. The list is
	 * read in spite of our own filter, for this one look; that events are over or planned anew is written no more than
	 * anything else. No lock is taken: it would be a write.
	 */
	public static function run_events() {
		wp_raise_memory_limit( 'cron' );
		remove_filter( 'pre_get_ready_cron_jobs', array( __CLASS__, 'nothing' ), PHP_INT_MAX );
		$due = wp_get_ready_cron_jobs();
		add_filter( 'pre_get_ready_cron_jobs', array( __CLASS__, 'nothing' ), PHP_INT_MAX );
		$ran = 0;
		foreach ( is_array( $due ) ? $due : array() as $time => $hooks ) {
			foreach ( $hooks as $hook => $events ) {
				foreach ( $events as $event ) {
					self::run_event( $time, $hook, $event );
					++$ran;
				}
			}
		}
		headers_sent() || header( 'Content-Type: text/plain; charset=utf-8' );
		exit( "wpaudit ran $ran events\n" );
	}

	private static function run_event( $time, $hook, $event ) {
		if ( $event['schedule'] ) {
			wp_reschedule_event( $time, $event['schedule'], $hook, $event['args'] );
		}
		wp_unschedule_event( $time, $hook, $event['args'] );
		do_action_ref_array( $hook, $event['args'] );
	}

	public static function nothing() {
		return array();
	}

	/* The session of --as-user exists in these requests only; the usermeta row is never written. */
	public static function session( $value, $user, $key ) {
		$login = isset( self::$config['login'] ) ? self::$config['login'] : null;
		if ( 'session_tokens' !== $key || ! is_array( $login ) || (int) $user !== (int) $login['user'] ) {
			return $value;
		}
		return array( array( $login['verifier'] => array( 'expiration' => (int) $login['expires'], 'login' => time() ) ) );
	}

	private static function refuse_writes() {
		global $wpdb, $wp_object_cache;
		add_filter( 'query', array( __CLASS__, 'harmless' ), PHP_INT_MAX );
		if ( wp_using_ext_object_cache() && is_object( $wp_object_cache ) ) {
			$wp_object_cache = new Wpaudit_Cache___TOKEN__( $wp_object_cache );
		}
		// A second line for code that talks to the connection directly. A transaction, not a session
		// setting: it dies with the connection and can never reach a visitor through a pool.
		if ( isset( $wpdb->dbh ) && $wpdb->dbh instanceof mysqli ) {
			@mysqli_query( $wpdb->dbh, 'START TRANSACTION READ ONLY' );
		}
	}

	/* Writes become a query that succeeds with one row, as the write would have. */
	public static function harmless( $query ) {
		global $wpdb;
		$bare = preg_replace( '~^(?:\s+|/\*.*?\*/|--[^\n]*\n|#[^\n]*\n|\()+~s', '', (string) $query );
		if ( preg_match( '/^(?:SELECT|SHOW|DESCRIBE|DESC|EXPLAIN|SET|USE|WITH|VALUES)\b/i', (string) $bare )
			&& ! preg_match( '/\bINTO\s+(?:OUTFILE|DUMPFILE)\b/i', (string) $bare ) ) {
			return $query;
		}
		if ( preg_match( '/^(?:INSERT|REPLACE)\b/i', (string) $bare ) ) {
			$wpdb->insert_id = 2147483647;
		}
		return 'SELECT 1';
	}

	/* Last, so that what is recorded is what any other probe does too. */
	private static function record() {
		$recorder = self::DIR . '/recorder-__TOKEN__.php';
		if ( self::$record && is_file( $recorder ) ) {
			require $recorder;
			Wpaudit_Recorder___TOKEN__::start(
				self::$config['marks'] . '/' . self::$nonce, self::$config['suspects'], array( __FILE__, $recorder )
			);
		}
	}

	/* ---- live mode: for every request ------------------------------------------------------- */

	/* Events of switched-off plugins would be lost, and a page view must not rewrite the list that the run holds. */
	private static function guard_everybody() {
		add_filter( 'pre_get_ready_cron_jobs', array( __CLASS__, 'nothing' ), PHP_INT_MAX );
		add_filter( 'pre_update_option_active_plugins', array( __CLASS__, 'held' ), PHP_INT_MAX, 2 );
		add_filter( 'pre_update_site_option_active_sitewide_plugins', array( __CLASS__, 'held' ), PHP_INT_MAX, 2 );
	}

	public static function held( $new, $old ) {
		$person = defined( 'WP_CLI' ) || ( function_exists( 'current_user_can' ) && did_action( 'init' ) && current_user_can( 'activate_plugins' ) );
		return $person ? $new : $old;
	}

	/* ---- marks ------------------------------------------------------------------------------ */

	public static function mark( $stage ) {
		@file_put_contents( self::$config['marks'] . '/' . self::$nonce, $stage . ' ' . count( self::$seen ) . "\n", FILE_APPEND );
	}

	/* The header spares wpaudit a question to the host for every probe that gets an answer. */
	public static function loaded() {
		self::mark( 'loaded' );
		if ( ! headers_sent() ) {
			$seen = self::LIVE ? 0 : count( self::$seen );
			$hmac = hash_hmac( 'sha256', 'mark;' . self::$nonce . ';' . $seen, base64_decode( self::$config['key'] ) );
			header( 'X-Wpaudit-Mark: ' . $seen . ';' . substr( $hmac, 0, 32 ) );
			header( 'Cache-Control: no-store, private' );
		}
	}

	/* ---- the end ---------------------------------------------------------------------------- */

	/* Past the run's last moment nobody of ours is left: put back what the journal says, remove everything. */
	private static function expire() {
		$lock = @fopen( self::DIR . '/lock', 'r' );
		if ( $lock && ! flock( $lock, LOCK_EX | LOCK_NB ) ) {
			return; // somebody of ours is left after all
		}
		$journal = array();
		$claimed = self::DIR . '/journal-claimed.php';
		if ( @rename( self::DIR . '/journal.php', $claimed ) ) {
			$journal = self::read( $claimed );
			if ( ! self::put_back( isset( $journal['rows'] ) ? $journal['rows'] : array() ) ) {
				@rename( $claimed, self::DIR . '/journal.php' ); // somebody else changed the list: `wpaudit restore` decides
				return;
			}
		}
		@unlink( __FILE__ );
		@unlink( __FILE__ . '~' );
		if ( ! empty( $journal['mu_made'] ) ) {
			@rmdir( __DIR__ );
		}
		self::remove( self::DIR );
	}

	private static function remove( $dir ) {
		foreach ( array_diff( is_dir( $dir ) ? (array) @scandir( $dir ) : array(), array( '.', '..', '' ) ) as $name ) {
			$path = $dir . '/' . $name;
			is_dir( $path ) && ! is_link( $path ) ? self::remove( $path ) : @unlink( $path );
		}
		@rmdir( $dir );
	}

	private static function put_back( $rows ) {
		global $wpdb;
		foreach ( $rows as $row ) {
			if ( ! isset( $row['written'] ) ) {
				continue;
			}
			$where = array( $row['key'] => $row['id'] );
			$query = $wpdb->prepare( "SELECT `{$row['column']}` FROM `{$row['table']}` WHERE `{$row['key']}` = %d", $row['id'] );
			$now   = $wpdb->get_var( $query );
			if ( base64_decode( $row['raw'] ) === $now ) {
				continue;
			}
			if ( ! in_array( $now, array_map( 'base64_decode', $row['written'] ), true ) ) {
				return false;
			}
			$wpdb->update( $row['table'], array( $row['column'] => base64_decode( $row['raw'] ) ), $where );
			wp_cache_delete( 'alloptions', 'options' );
			wp_cache_delete( 'active_plugins', 'options' );
			if ( isset( $row['network'] ) ) {
				wp_cache_delete( $row['network'] . ':' . $row['name'], 'site-options' );
			}
			if ( base64_decode( $row['raw'] ) !== $wpdb->get_var( $query ) ) {
				return false; // the journal stays, and the next visit tries again
			}
		}
		return true;
	}
}

/*
 * A persistent object cache as one probe sees it: reads go through, writes stay in this request.
 * Without it a probe could leave, say, rewrite rules made without half the plugins for every visitor.
 */
final class Wpaudit_Cache___TOKEN__ {
	private $inner;
	private $local = array();

	public function __construct( $inner ) {
		$this->inner = $inner;
	}

	private function has( $key, $group ) {
		return isset( $this->local[ $group ] ) && array_key_exists( $key, $this->local[ $group ] );
	}

	public function get( $key, $group = 'default', $force = false, &$found = null ) {
		$group = $group ? $group : 'default';
		if ( ! $this->has( $key, $group ) ) {
			return $this->inner->get( $key, $group, $force, $found );
		}
		$found = null !== $this->local[ $group ][ $key ];
		$value = $found ? $this->local[ $group ][ $key ][0] : false;
		return is_object( $value ) ? clone $value : $value;
	}

	public function get_multiple( $keys, $group = 'default', $force = false ) {
		$values = array();
		foreach ( $keys as $key ) {
			$values[ $key ] = $this->get( $key, $group, $force );
		}
		return $values;
	}

	public function set( $key, $value, $group = 'default', $expire = 0 ) {
		$this->local[ $group ? $group : 'default' ][ $key ] = array( is_object( $value ) ? clone $value : $value );
		return true;
	}

	private function holds( $key, $group ) {
		$found = false;
		$this->get( $key, $group, false, $found );
		return $found;
	}

	public function add( $key, $value, $group = 'default', $expire = 0 ) {
		return ! wp_suspend_cache_addition() && ! $this->holds( $key, $group ) && $this->set( $key, $value, $group );
	}

	public function replace( $key, $value, $group = 'default', $expire = 0 ) {
		return $this->holds( $key, $group ) && $this->set( $key, $value, $group );
	}

	public function delete( $key, $group = 'default' ) {
		$held = $this->holds( $key, $group );
		$this->local[ $group ? $group : 'default' ][ $key ] = null;
		return $held;
	}

	public function incr( $key, $offset = 1, $group = 'default' ) {
		$value = max( 0, (int) $this->get( $key, $group ) + $offset );
		$this->set( $key, $value, $group );
		return $value;
	}

	public function decr( $key, $offset = 1, $group = 'default' ) {
		return $this->incr( $key, -$offset, $group );
	}

	private function each( $method, $items, $group ) {
		$done = array();
		foreach ( $items as $key => $value ) {
			$done[ $key ] = $this->$method( $key, $value, $group );
		}
		return $done;
	}

	public function set_multiple( $items, $group = '', $expire = 0 ) {
		return $this->each( 'set', $items, $group );
	}

	public function add_multiple( $items, $group = '', $expire = 0 ) {
		return $this->each( 'add', $items, $group );
	}

	public function delete_multiple( $keys, $group = '' ) {
		$done = array();
		foreach ( $keys as $key ) {
			$done[ $key ] = $this->delete( $key, $group );
		}
		return $done;
	}

	public function flush() {
		return true;
	}

	public function flush_runtime() {
		$this->local = array();
		return true;
	}

	public function flush_group( $group ) {
		return true;
	}

	public function __call( $method, $arguments ) {
		return $this->inner->$method( ...$arguments );
	}

	public function __get( $name ) {
		return $this->inner->$name;
	}

	public function __isset( $name ) {
		return isset( $this->inner->$name );
	}
}

Wpaudit___TOKEN__::boot();
