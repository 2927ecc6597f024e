<?php
/*
 * Changing and putting back: the one place on the host that changes anything.
 *
 * Order of events: run directory (its mkdir is the lock) -> journal, fsynced -> change -> put back ->
 * read back and compare -> journal away -> directory away. Whoever finds the journal can finish: this process at
 * end of file, the watchdog when this process was killed, the must-use plugin past its expiry, `wpaudit restore`.
 */

final class Wpaudit_State {
	const KEEP = "\x3c?php exit; ?>\n"; // first line of every data file: a web server that serves it runs this

	public static $login = null;

	private static $journal = null;  // this run's journal, null when nothing is open
	private static $lock    = null;
	private static $writing = false;
	private static $since   = 0.0;   // since when visitors see a changed list; 0 while they do not
	private static $seconds = 0.0;   // how long they saw one before that
	private static $beats   = 0;

	/* ---- the gate --------------------------------------------------------------------------- */

	/* A `query` filter: in this process only write() may write, whatever core or must-use code would like. */
	public static function gate( $query ) {
		$reads = preg_match( '/^\s*(?:SELECT|SHOW|DESCRIBE|DESC|EXPLAIN|SET|USE)\b/i', (string) $query );
		return self::$writing || $reads ? $query : 'SELECT 1';
	}

	private static function write( $row, $raw ) {
		global $wpdb;
		self::$writing = true;
		$wpdb->suppress_errors( true );
		$done          = $wpdb->update( $row['table'], array( $row['column'] => $raw ), array( $row['key'] => $row['id'] ) );
		self::$writing = false;
		foreach ( array( 'alloptions', 'notoptions', $row['name'] ) as $key ) {
			wp_cache_delete( $key, 'options' );
		}
		if ( 'active_sitewide_plugins' === $row['name'] ) {
			wp_cache_delete( $row['network'] . ':' . $row['name'], 'site-options' );
			wp_cache_delete( $row['network'] . ':alloptions', 'site-options' );
		}
		if ( false === $done || $raw !== self::raw( $row ) ) {
			throw new Wpaudit_Refusal( 'not-written', 'the database did not take the new ' . $row['name'] . ': ' . $wpdb->last_error );
		}
	}

	private static function raw( $row ) {
		global $wpdb;
		return $wpdb->get_var( $wpdb->prepare( "SELECT `{$row['column']}` FROM `{$row['table']}` WHERE `{$row['key']}` = %d", $row['id'] ) );
	}

	/* ---- snapshot --------------------------------------------------------------------------- */

	/* The raw rows that say which plugins and which theme are on, byte for byte. */
	private static function rows() {
		global $wpdb;
		$rows  = array();
		$names = "'active_plugins','template','stylesheet'";
		foreach ( $wpdb->get_results( "SELECT option_id, option_name, option_value FROM $wpdb->options WHERE option_name IN ($names) ORDER BY option_id" ) as $found ) {
			$rows[] = self::row( $wpdb->options, 'option_id', $found->option_id, 'option_value', $found->option_name, $found->option_value );
		}
		if ( is_multisite() ) {
			$query = "SELECT meta_id, site_id, meta_value FROM $wpdb->sitemeta WHERE meta_key = 'active_sitewide_plugins' ORDER BY meta_id";
			foreach ( $wpdb->get_results( $query ) as $found ) {
				$row    = self::row( $wpdb->sitemeta, 'meta_id', $found->meta_id, 'meta_value', 'active_sitewide_plugins', $found->meta_value );
				$rows[] = array( 'network' => (int) $found->site_id ) + $row;
			}
		}
		if ( ! $rows ) {
			throw new Wpaudit_Refusal( 'database', 'the plugin list could not be read from the database: ' . $wpdb->last_error );
		}
		return $rows;
	}

	private static function row( $table, $key, $id, $column, $name, $raw ) {
		return array( 'table' => $table, 'key' => $key, 'id' => (int) $id, 'column' => $column, 'name' => $name, 'raw' => base64_encode( $raw ) );
	}

	private static function files() {
		$files = array();
		foreach ( is_dir( WPMU_PLUGIN_DIR ) ? scandir( WPMU_PLUGIN_DIR ) : array() as $name ) {
			$path = WPMU_PLUGIN_DIR . '/' . $name;
			if ( '.' !== $name && '..' !== $name ) {
				$files[] = base64_encode( $name ) . ' ' . ( is_file( $path ) ? sha1_file( $path ) : '-' ) . ' ' . decoct( (int) @fileperms( $path ) );
			}
		}
		return $files;
	}

	private static function digest( $rows, $files ) {
		$plain = array();
		foreach ( $rows as $row ) {
			unset( $row['written'] );
			$plain[] = $row;
		}
		return hash( 'sha256', json_encode( array( $plain, $files ) ) );
	}

	/* ---- the run directory ------------------------------------------------------------------ */

	private static function places() {
		$home = getenv( 'HOME' );
		return array_filter(
			array( WP_CONTENT_DIR . '/.wpaudit', $home ? $home . '/.wpaudit-' . substr( sha1( ABSPATH ), 0, 12 ) : '' ),
			'strlen'
		);
	}

	/* The run that holds this site: null, or {state: busy|unfinished, dir, ...}. */
	public static function found() {
		foreach ( self::places() as $dir ) {
			clearstatcache();
			if ( ! is_dir( $dir ) || ( self::$journal && $dir === self::$journal['dir'] ) ) {
				continue;
			}
			$journal = self::read( $dir . '/journal.php' );
			$handle  = @fopen( $dir . '/lock', 'r' );
			$free    = ! $handle || flock( $handle, LOCK_EX | LOCK_NB );
			if ( $handle ) {
				fclose( $handle );
			}
			if ( ! $journal && $free && time() - filemtime( $dir ) > 60 ) {
				self::remove( $dir ); // died between mkdir and journal: nothing was changed
				continue;
			}
			return array(
				'state'   => $free && $journal ? 'unfinished' : 'busy',
				'dir'     => Wpaudit_Agent::text( $dir ),
				'by'      => Wpaudit_Agent::text( $journal ? $journal['by'] : '' ),
				'started' => $journal ? (int) $journal['started'] : (int) filemtime( $dir ),
				'mode'    => $journal ? $journal['mode'] : '',
			);
		}
		return null;
	}

	private static function make_place() {
		foreach ( self::places() as $dir ) {
			if ( @mkdir( $dir, 0711 ) ) {
				chmod( $dir, 0711 ); // the web server's user passes through, and cannot list
				return $dir;
			}
			$other = self::found(); // somebody was quicker: another place would be another lock
			if ( $other ) {
				throw new Wpaudit_Refusal( $other['state'], json_encode( $other ) );
			}
		}
		$where = implode( ' nor ', self::places() );
		throw new Wpaudit_Refusal( 'read-only', "neither $where can be created, so there is no place for the journal" );
	}

	private static function read( $path ) {
		$text = @file_get_contents( $path );
		$data = is_string( $text ) ? json_decode( substr( $text, strlen( self::KEEP ) ), true ) : null;
		return is_array( $data ) ? $data : null;
	}

	private static function put( $path, $text, $mode ) {
		$handle = @fopen( $path . '~', 'wb' );
		$done   = $handle && strlen( $text ) === @fwrite( $handle, $text ) && fflush( $handle );
		$done   = $done && ( ! function_exists( 'fsync' ) || @fsync( $handle ) );
		$done   = $handle && fclose( $handle ) && $done;
		if ( ! $done || ! @chmod( $path . '~', $mode ) || ! @rename( $path . '~', $path ) ) {
			$reason = $handle && disk_free_space( dirname( $path ) ) < 65536 ? 'the disk is full' : 'permission or disk error';
			@unlink( $path . '~' );
			throw new Wpaudit_Refusal( 'no-write', 'cannot write ' . $path . ': ' . $reason );
		}
	}

	private static function save() {
		self::put( self::$journal['dir'] . '/journal.php', self::KEEP . json_encode( self::$journal ), 0600 );
	}

	/* By scandir(), since glob() would take a bracket in the site's own path for a pattern. */
	private static function remove( $dir ) {
		foreach ( array_diff( is_dir( $dir ) ? (array) @scandir( $dir ) : array(), array( '.', '..', '' ) ) as $name ) {
			$path = $dir . '/' . $name;
			is_dir( $path ) && ! is_link( $path ) ? self::remove( $path ) : @unlink( $path );
		}
		return @rmdir( $dir );
	}

	/* A counter that the watchdog watches: an agent that hangs is as bad as one that was killed. */
	public static function beat() {
		if ( self::$journal ) {
			@file_put_contents( self::$journal['dir'] . '/beat', ++self::$beats );
		}
	}

	/* What this login could do here; nothing is tried out. */
	public static function abilities() {
		$must_use = is_dir( WPMU_PLUGIN_DIR ) ? WPMU_PLUGIN_DIR : dirname( WPMU_PLUGIN_DIR );
		$places   = array_filter( array_map( 'dirname', self::places() ), 'is_writable' );
		return array(
			'must_use'     => Wpaudit_Agent::text( $must_use ),
			'isolated'     => is_writable( $must_use ),
			'journal'      => Wpaudit_Agent::text( (string) reset( $places ) ),
			'free'         => $places ? (int) disk_free_space( reset( $places ) ) : 0,
			'object_cache' => (bool) wp_using_ext_object_cache(),
			'theme'        => Wpaudit_Agent::text( Wpaudit_Inventory::other_theme() ),
			'signals'      => function_exists( 'pcntl_async_signals' ),
		);
	}

	/* ---- prepare and arm -------------------------------------------------------------------- */

	public static function prepare( $request ) {
		$other = self::found();
		if ( $other ) {
			throw new Wpaudit_Refusal( $other['state'], json_encode( $other ) );
		}
		$live = 'live' === $request['mode'];
		if ( ! $live ) {
			self::check_must_use();
		}
		$dir = self::make_place();
		try {
			$config = self::fill( $dir, $live, $request );
		} catch ( Throwable $error ) {
			self::$journal = null;
			self::remove( $dir );
			throw $error;
		}
		return array(
			'dir'      => base64_encode( $dir ),
			'must_use' => base64_encode( self::$journal['mu'] ),
			'made'     => self::$journal['mu_made'],
			'rows'     => self::$journal['rows'],
			'digest'   => self::$journal['digest'],
			'theme'    => '' !== $config['theme'],
			'time'     => time(),
		);
	}

	private static function check_must_use() {
		$probe = is_dir( WPMU_PLUGIN_DIR ) ? WPMU_PLUGIN_DIR : dirname( WPMU_PLUGIN_DIR );
		if ( ! @is_writable( $probe ) ) {
			throw new Wpaudit_Refusal( 'no-must-use', "the must-use plugin directory cannot be written: $probe" );
		}
	}

	/* wpdb refuses bytes that are no text in a column's charset, which SQLite keeps: what could not be put back is not begun. */
	private static function check_writable( $rows ) {
		global $wpdb;
		foreach ( $rows as $row ) {
			$raw = base64_decode( $row['raw'] );
			if ( $raw !== $wpdb->strip_invalid_text_for_column( $row['table'], $row['column'], $raw ) ) {
				throw new Wpaudit_Refusal( 'no-write', 'the stored ' . $row['name'] . ' holds bytes that WordPress could not write back' );
			}
		}
	}

	private static function fill( $dir, $live, $request ) {
		self::$lock = fopen( $dir . '/lock', 'c' );
		if ( ! self::$lock || ! flock( self::$lock, LOCK_EX | LOCK_NB ) ) {
			throw new Wpaudit_Refusal( 'no-write', "cannot lock $dir/lock" );
		}
		$rows          = self::rows();
		$files         = self::files();
		if ( $live ) {
			self::check_writable( $rows );
		}
		$token         = $request['token'];
		$made          = ! is_dir( WPMU_PLUGIN_DIR );
		$mu            = WPMU_PLUGIN_DIR . '/!wpaudit-' . $token . '.php';
		self::$journal = array(
			'version' => 1, 'run' => $token, 'mode' => $request['mode'], 'started' => time(), 'by' => $request['by'],
			'pid' => getmypid(), 'dir' => $dir, 'mu' => $mu, 'mu_made' => $made, 'rows' => $rows, 'files' => $files,
			'digest' => self::digest( $rows, $files ), 'expires' => time() + max( 60, (int) $request['lifetime'] ),
		);
		$marks = $dir . '/marks-' . $token . $request['secret'];
		if ( ! mkdir( $marks, 0777 ) || ! chmod( $marks, 0777 ) ) {
			throw new Wpaudit_Refusal( 'no-write', "cannot create $marks" );
		}
		self::$journal['marks'] = $marks;
		self::beat();
		$config = array(
			'key' => $request['key'], 'suspects' => $request['suspects'], 'marks' => $marks, 'login' => self::$login,
			'theme' => Wpaudit_Inventory::other_theme(),
		);
		self::put( $dir . '/config.php', self::KEEP . json_encode( $config ), self::config_mode( $dir ) );
		self::put( $dir . '/agent.php', $request['source'], 0600 );
		self::save();
		return $config;
	}

	/* As readable as wp-config.php, whose secrets the web server's PHP must read too. */
	private static function config_mode( $dir ) {
		$config = is_file( ABSPATH . 'wp-config.php' ) ? ABSPATH . 'wp-config.php' : dirname( ABSPATH ) . '/wp-config.php';
		return 0600 | ( (int) @fileperms( $config ) & 0644 );
	}

	/* From here on visitors load the must-use plugin, inert for them in isolated mode. */
	public static function arm( $template, $recorder ) {
		self::must_be_open();
		$journal = self::$journal;
		if ( $journal['mu_made'] && ! is_dir( WPMU_PLUGIN_DIR ) && ! @mkdir( WPMU_PLUGIN_DIR, 0755 ) ) {
			throw new Wpaudit_Refusal( 'no-must-use', 'the must-use plugin directory cannot be created' );
		}
		$words = array(
			"'__RUNDIR__'" => var_export( $journal['dir'], true ), '__TOKEN__' => $journal['run'],
			'__EXPIRES__' => (string) $journal['expires'], '__LIVE__' => 'live' === $journal['mode'] ? 'true' : 'false',
		);
		$beside = $journal['dir'] . '/recorder-' . $journal['run'] . '.php';
		$mode   = (int) fileperms( ABSPATH . 'wp-load.php' ) & 0666;
		self::put( $beside, strtr( $recorder, $words ), $mode );
		self::put( $journal['mu'], strtr( $template, $words ), $mode );
		return array( 'armed' => true );
	}

	/*
	 * Without the must-use plugin WP-Cron is held off by its own lock, `doing_cron`: spawn_cron() and wp-cron.php
	 * believe for ten minutes that somebody else is at it. Renewed with every switch.
	 */
	public static function hold_cron() {
		self::must_be_open();
		if ( ! isset( self::$journal['cron'] ) ) {
			self::$journal['cron'] = array( 'before' => self::cron_lock(), 'ours' => array() );
		}
		$ours                            = sprintf( '%.22F', microtime( true ) + 540 );
		self::$journal['cron']['ours'][] = $ours;
		self::save();
		self::set_cron_lock( $ours );
		return array( 'held' => self::cron_lock() === $ours );
	}

	private static function cron_lock() {
		global $wpdb;
		if ( wp_using_ext_object_cache() ) {
			$value = wp_cache_get( 'doing_cron', 'transient', true );
			return false === $value ? null : (string) $value;
		}
		return $wpdb->get_var( "SELECT option_value FROM $wpdb->options WHERE option_name = '_transient_doing_cron'" );
	}

	private static function set_cron_lock( $value ) {
		global $wpdb;
		if ( wp_using_ext_object_cache() ) {
			null === $value ? wp_cache_delete( 'doing_cron', 'transient' ) : wp_cache_set( 'doing_cron', $value, 'transient' );
			return;
		}
		$name          = array( 'option_name' => '_transient_doing_cron' );
		self::$writing = true;
		if ( null === $value ) {
			$wpdb->delete( $wpdb->options, $name );
		} elseif ( null === self::cron_lock() ) {
			$wpdb->insert( $wpdb->options, self::gap() + $name + array( 'option_value' => $value, 'autoload' => 'on' ) );
		} else {
			$wpdb->update( $wpdb->options, array( 'option_value' => $value ), $name );
		}
		self::$writing = false;
		wp_cache_delete( 'alloptions', 'options' );
		wp_cache_delete( '_transient_doing_cron', 'options' );
	}

	/* An unused option_id below the highest: a row that comes and goes there leaves the table's counter where it is. */
	private static function gap() {
		global $wpdb;
		$free = "SELECT MIN(a.option_id) + 1 FROM $wpdb->options a LEFT JOIN $wpdb->options b ON b.option_id = a.option_id + 1 WHERE b.option_id IS NULL";
		$id   = (int) $wpdb->get_var( $free );
		return $id && $id < (int) $wpdb->get_var( "SELECT MAX(option_id) FROM $wpdb->options" ) ? array( 'option_id' => $id ) : array();
	}

	/* A cron run that somebody else has begun since is theirs. */
	private static function release_cron( $journal ) {
		if ( isset( $journal['cron'] ) && in_array( self::cron_lock(), $journal['cron']['ours'], true ) ) {
			self::set_cron_lock( $journal['cron']['before'] );
		}
	}

	private static function must_be_open() {
		if ( ! self::$journal || ! is_file( self::$journal['dir'] . '/journal.php' ) ) {
			throw new Wpaudit_Refusal( 'closed', 'this run was already put back by its watchdog' );
		}
	}

	public static function mark( $nonce ) {
		self::must_be_open();
		$path = self::$journal['marks'] . '/' . preg_replace( '/[^0-9a-f]/', '', $nonce );
		$text = is_file( $path ) ? (string) file_get_contents( $path, false, null, 0, 4096 ) : '';
		@unlink( $path );
		return array( 'text' => Wpaudit_Agent::text( $text ) );
	}

	/* What the flight recorder left of one probe, a file for each of its requests; see recorder.php. */
	public static function recording( $nonce ) {
		self::must_be_open();
		$parts = array();
		$ended = true;
		$path  = self::$journal['marks'] . '/' . preg_replace( '/[^0-9a-f]/', '', $nonce ) . '-rec';
		for ( $part = 0; $part < 8 && is_file( $path . $part ); $part++ ) {
			$ended   = self::unlocked( $path . $part );
			$text    = (string) @file_get_contents( $path . $part, false, null, 0, 65536 );
			$parts[] = base64_encode( str_replace( "\0", '', $text ) );
			@unlink( $path . $part );
		}
		return array( 'parts' => $parts, 'ended' => $ended );
	}

	/* Whether the file's writer is gone; waits a moment for it. */
	private static function unlocked( $path ) {
		$handle = @fopen( $path, 'r' );
		for ( $tries = 0; $handle && $tries < 100; $tries++ ) {
			if ( flock( $handle, LOCK_SH | LOCK_NB ) ) {
				return true;
			}
			usleep( 20000 );
		}
		return false;
	}

	/* ---- live switching --------------------------------------------------------------------- */

	/* Write the rows so that exactly $off is off for everybody; order and timestamps of the rest stay. */
	public static function switch_off( $off ) {
		self::must_be_open();
		$off     = array_fill_keys( $off, true );
		$targets = array();
		if ( isset( self::$journal['cron'] ) ) {
			self::hold_cron();
		}
		foreach ( self::$journal['rows'] as $i => $row ) {
			$target = self::without( $row, $off );
			if ( null === $target ) {
				continue;
			}
			self::must_be_ours( $row );
			if ( $target !== self::raw( $row ) ) {
				$targets[ $i ] = $target;
				self::$journal['rows'][ $i ]['written'][] = base64_encode( $target );
				self::$journal['rows'][ $i ]['written']   = array_values( array_unique( self::$journal['rows'][ $i ]['written'] ) );
			}
		}
		if ( $targets ) {
			self::save(); // what we are about to write is on disk before it is in the database
			self::$since = self::$since ? self::$since : microtime( true );
		}
		foreach ( $targets as $i => $target ) {
			self::write( self::$journal['rows'][ $i ], $target );
		}
		if ( ! $off ) {
			self::stop_clock();
		}
		return array( 'written' => count( $targets ) );
	}

	private static function without( $row, $off ) {
		$raw = base64_decode( $row['raw'] );
		if ( ! $off ) {
			return isset( $row['written'] ) ? $raw : null;
		}
		$value = maybe_unserialize( $raw );
		if ( ! is_array( $value ) || ! in_array( $row['name'], array( 'active_plugins', 'active_sitewide_plugins' ), true ) ) {
			return null;
		}
		if ( 'active_sitewide_plugins' === $row['name'] ) {
			$kept = array_diff_key( $value, $off );
		} else {
			$kept = array();
			foreach ( $value as $file ) {
				if ( ! is_string( $file ) || ! isset( $off[ $file ] ) ) {
					$kept[] = $file;
				}
			}
		}
		return count( $kept ) === count( $value ) ? $raw : serialize( $kept );
	}

	private static function stop_clock() {
		self::$seconds += self::$since ? microtime( true ) - self::$since : 0;
		self::$since    = 0.0;
	}

	private static function is_ours( $row ) {
		$known = array_merge( array( $row['raw'] ), isset( $row['written'] ) ? $row['written'] : array() );
		return in_array( base64_encode( (string) self::raw( $row ) ), $known, true );
	}

	private static function must_be_ours( $row ) {
		if ( ! self::is_ours( $row ) ) {
			throw new Wpaudit_Refusal( 'foreign', 'somebody else changed ' . $row['name'] . ' during the run' );
		}
	}

	/* ---- putting back ----------------------------------------------------------------------- */

	/* Put back, compare, tidy up. Idempotent; returns what the report says of it. */
	public static function finish() {
		if ( ! self::$journal ) {
			return array( 'verified' => true, 'before' => '', 'after' => '', 'left' => array(), 'foreign' => array(), 'seconds' => 0 );
		}
		$journal = self::$journal;
		$foreign = array();
		foreach ( $journal['rows'] as $row ) {
			if ( isset( $row['written'] ) ) {
				self::put_back( $row, $foreign );
			}
		}
		self::release_cron( $journal );
		self::stop_clock();
		$seconds = self::$seconds;
		self::tidy( $journal );
		$rows          = self::rows();
		$files         = self::files();
		$after         = self::digest( $rows, $files );
		$verified      = $after === $journal['digest'] || ( 'isolated' === $journal['mode'] && $files === $journal['files'] );
		$left          = array_filter( array( $journal['mu'], $journal['mu'] . '~', $journal['dir'] ), 'file_exists' );
		self::$journal = null;
		return array(
			'verified' => $verified && ! $left && ! $foreign, 'before' => $journal['digest'], 'after' => $after,
			'left' => array_map( array( 'Wpaudit_Agent', 'text' ), array_values( $left ) ), 'foreign' => $foreign, 'seconds' => $seconds,
			'changed_by_others' => $after !== $journal['digest'],
		);
	}

	private static function put_back( $row, &$foreign ) {
		$raw = base64_decode( $row['raw'] );
		$now = self::raw( $row );
		if ( $now === $raw ) {
			return;
		}
		if ( self::is_ours( $row ) ) {
			self::write( $row, $raw );
			return;
		}
		$foreign[] = array( 'name' => $row['name'], 'before' => $row['raw'], 'found' => base64_encode( (string) $now ) );
		$merged    = self::only_ours( $row, maybe_unserialize( $raw ), maybe_unserialize( (string) $now ) );
		if ( null !== $merged ) {
			self::write( $row, serialize( $merged ) );
		}
	}

	/* Somebody else's list with what we had switched off switched on again; null when it is no list. */
	private static function only_ours( $row, $before, $now ) {
		if ( ! is_array( $before ) || ! is_array( $now ) ) {
			return null;
		}
		$last = maybe_unserialize( base64_decode( end( $row['written'] ) ) );
		if ( 'active_sitewide_plugins' === $row['name'] ) {
			return $now + array_diff_key( $before, $last );
		}
		$ours = array_diff( $before, $last );
		$list = array_values( array_intersect( $before, array_merge( $now, $ours ) ) );
		return array_merge( $list, array_values( array_diff( $now, $list ) ) );
	}

	private static function tidy( $journal ) {
		@unlink( $journal['mu'] );
		@unlink( $journal['mu'] . '~' ); // a process killed while it wrote leaves this one
		if ( $journal['mu_made'] && is_dir( WPMU_PLUGIN_DIR ) ) {
			@rmdir( WPMU_PLUGIN_DIR );
		}
		if ( self::$lock ) {
			fclose( self::$lock );
			self::$lock = null;
		}
		self::stop_watchdog( $journal['dir'] );
		self::remove_for_good( $journal['dir'] );
	}

	/* A watchdog that is only just starting, or a request that is not over yet, may write into it once more. */
	private static function remove_for_good( $dir ) {
		for ( $tries = 0; $tries < 60; ++$tries ) {
			self::remove( $dir );
			clearstatcache();
			if ( ! file_exists( $dir ) ) {
				return;
			}
			usleep( 50000 );
		}
	}

	private static function stop_watchdog( $dir ) {
		$pid = (int) @file_get_contents( $dir . '/watchdog' );
		if ( $pid > 1 && function_exists( 'posix_kill' ) ) {
			@posix_kill( $pid, defined( 'SIGTERM' ) ? SIGTERM : 15 );
		}
	}

	/* Called on every way out: end of file, silence, signal, fatal error. */
	public static function close() {
		try {
			self::finish();
		} catch ( Throwable $error ) {
			fwrite( STDERR, 'wpaudit: not put back yet: ' . $error->getMessage() . "\n" ); // the journal stays; the watchdog tries on
		}
	}

	/* Finish what an interrupted run left: the watchdog's and `wpaudit restore`'s way in. */
	public static function recover() {
		foreach ( self::places() as $dir ) {
			$journal = self::read( $dir . '/journal.php' );
			if ( ! $journal ) {
				continue;
			}
			$handle = fopen( $dir . '/lock', 'c' );
			if ( ! $handle || ! flock( $handle, LOCK_EX | LOCK_NB ) ) {
				throw new Wpaudit_Refusal( 'busy', json_encode( self::found() ) );
			}
			self::$lock    = $handle;
			self::$journal = array( 'dir' => $dir ) + $journal;
			return array( 'found' => true, 'mode' => $journal['mode'], 'by' => Wpaudit_Agent::text( $journal['by'] ), 'started' => (int) $journal['started'] ) + self::finish();
		}
		return array( 'found' => false, 'digest' => self::digest( self::rows(), self::files() ) );
	}
}
