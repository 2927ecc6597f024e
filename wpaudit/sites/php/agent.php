<?php
/*
 * The agent: one PHP process per run, started by `wp eval` with --skip-plugins --skip-themes. It loads
 * WordPress itself (--skip-wordpress), with its gate in place before the first query. It reads one JSON
 * object a line on stdin and answers one a line on stdout, each behind a sentinel, because other code
 * prints there too. End of file, silence and signals all mean: put everything back, leave.
 *
 * PHP 7.2 and newer. agent.php, inventory.php and state.php are sent as one text, host*.php and sources.php when they are
 * needed; no file stays behind.
 */

final class Wpaudit_Refusal extends Exception {
	public $code_word;

	public function __construct( $code_word, $message ) {
		parent::__construct( $message );
		$this->code_word = $code_word;
	}
}

final class Wpaudit_Agent {
	const PROTOCOL = 1;

	private static $sentinel = '';
	private static $patience = 30; // seconds without a line from wpaudit before everything is put back
	private static $buffer   = '';
	private static $loaded   = false;

	/* $greeting['bare']: WordPress is loaded when asked for, since triage looks at hosts where it cannot be. */
	public static function serve( $greeting ) {
		self::$sentinel = $greeting['sentinel'];
		self::$patience = max( 5, (int) $greeting['patience'] );
		if ( empty( $greeting['bare'] ) ) {
			self::load();
		}
		self::harden();
		$range = $greeting['protocol'];
		if ( $range[0] > self::PROTOCOL || $range[1] < self::PROTOCOL ) {
			self::answer( 0, null, array( 'code' => 'protocol', 'message' => 'the agent speaks protocol ' . self::PROTOCOL ) );
			return;
		}
		self::answer( 0, array( 'protocol' => self::PROTOCOL, 'pid' => getmypid(), 'time' => time() ), null );
		self::listen();
		Wpaudit_State::close();
	}

	/* `wp eval-file agent.php recover`: the watchdog's way in. */
	public static function recover() {
		self::load();
		self::harden();
		try {
			$done = Wpaudit_State::recover();
		} catch ( Throwable $error ) {
			fwrite( STDERR, 'wpaudit: ' . $error->getMessage() . "\n" );
			exit( 1 );
		}
		exit( ! $done['found'] || ( ! $done['left'] && ! $done['foreign'] ) ? 0 : 1 );
	}

	/*
	 * Load WordPress as `wp eval` does, and write nothing on the way: its mere start completes a switch of the theme
	 * (check_theme_switched) and runs due events (wp_cron), which a site whose every page crashes still has before it.
	 */
	private static function load() {
		if ( self::$loaded ) {
			return;
		}
		self::$loaded = true;
		WP_CLI::add_wp_hook( 'query', array( 'Wpaudit_State', 'gate' ), PHP_INT_MAX );
		WP_CLI::add_wp_hook( 'pre_get_ready_cron_jobs', '__return_empty_array', PHP_INT_MAX );
		WP_CLI::get_runner()->load_wordpress();
	}

	private static function harden() {
		set_time_limit( 0 );
		ignore_user_abort( true ); // a dead client must not end us before everything is put back
		ini_set( 'display_errors', 'stderr' );
		register_shutdown_function( array( 'Wpaudit_State', 'close' ) );
		if ( function_exists( 'pcntl_async_signals' ) ) {
			pcntl_async_signals( true );
			foreach ( array( SIGTERM, SIGINT, SIGHUP ) as $signal ) {
				pcntl_signal( $signal, array( __CLASS__, 'leave' ) );
			}
		}
	}

	public static function leave( $signal ) {
		Wpaudit_State::close();
		exit( 128 + $signal );
	}

	private static function listen() {
		while ( null !== ( $line = self::line() ) ) {
			Wpaudit_State::beat();
			$request = json_decode( $line, true );
			if ( ! is_array( $request ) || ! isset( $request['id'], $request['op'] ) ) {
				continue;
			}
			try {
				self::answer( $request['id'], self::perform( $request ), null );
			} catch ( Wpaudit_Refusal $refusal ) {
				self::answer( $request['id'], null, array( 'code' => $refusal->code_word, 'message' => $refusal->getMessage() ) );
			} catch ( Throwable $error ) {
				$message = get_class( $error ) . ': ' . $error->getMessage() . ' at ' . basename( $error->getFile() ) . ':' . $error->getLine();
				self::answer( $request['id'], null, array( 'code' => 'failed', 'message' => $message ) );
			}
		}
	}

	/* The next line, or null at end of file or after too long a silence. */
	private static function line() {
		$deadline = microtime( true ) + self::$patience;
		while ( false === ( $end = strpos( self::$buffer, "\n" ) ) ) {
			$read  = array( STDIN );
			$write = null;
			$left  = $deadline - microtime( true );
			if ( $left <= 0 ) {
				return null;
			}
			if ( ! @stream_select( $read, $write, $write, (int) $left, (int) ( fmod( $left, 1 ) * 1e6 ) ) ) {
				continue; // time is up (seen above), or a signal came
			}
			$chunk = fread( STDIN, 65536 );
			if ( '' === $chunk || false === $chunk ) {
				return null;
			}
			self::$buffer .= $chunk;
		}
		$line         = substr( self::$buffer, 0, $end );
		self::$buffer = substr( self::$buffer, $end + 1 );
		return $line;
	}

	private static function perform( $request ) {
		switch ( $request['op'] ) {
			case 'ping':
				return array( 'time' => time() );
			case 'load':
				self::load();
				self::harden(); // WordPress has set a few of its own
				return array( 'time' => time() );
			case 'extend':
				if ( ! class_exists( $request['unless'], false ) ) {
					eval( base64_decode( $request['source'] ) ); // what not every run needs, sent when it is asked for
				}
				return array( 'time' => time() );
			case 'inventory':
				return Wpaudit_Inventory::everything();
			case 'evidence':
				return Wpaudit_Inventory::evidence( $request['logs'] );
			case 'abilities':
				return Wpaudit_State::abilities();
			case 'login':
				return Wpaudit_Inventory::login( $request['user'], (int) $request['lifetime'] );
			case 'prepare':
				return Wpaudit_State::prepare( $request );
			case 'arm':
				return Wpaudit_State::arm( base64_decode( $request['template'] ), base64_decode( $request['recorder'] ) );
			case 'hold-cron':
				return Wpaudit_State::hold_cron();
			case 'switch':
				return Wpaudit_State::switch_off( array_map( 'base64_decode', $request['off'] ) );
			case 'mark':
				return Wpaudit_State::mark( $request['nonce'] );
			case 'recording':
				return Wpaudit_State::recording( $request['nonce'] );
			case 'finish':
				return Wpaudit_State::finish();
			case 'recover':
				return Wpaudit_State::recover();
		}
		if ( 'mentions' === $request['op'] && class_exists( 'Wpaudit_Sources', false ) ) {
			return Wpaudit_Sources::mentions( $request );
		}
		if ( 0 === strpos( $request['op'], 'host-' ) && class_exists( 'Wpaudit_Host', false ) ) {
			return Wpaudit_Host::perform( $request );
		}
		throw new Wpaudit_Refusal( 'unknown', 'no such operation' );
	}

	private static function answer( $id, $result, $error ) {
		$text = json_encode(
			array( 'id' => $id, 'result' => $result, 'error' => null === $error ? null : array_map( array( __CLASS__, 'text' ), $error ) ),
			JSON_UNESCAPED_SLASHES
		);
		$line = "\n" . self::$sentinel . $text . "\n";
		for ( $sent = 0; $sent < strlen( $line ); $sent += $count ) {
			$count = @fwrite( STDOUT, substr( $line, $sent ) );
			if ( ! $count ) {
				return;
			}
		}
		fflush( STDOUT );
	}

	/* A string that JSON can carry; bytes that are not UTF-8 travel as base64. */
	public static function text( $value ) {
		$value = substr( (string) $value, 0, 2000 );
		return preg_match( '//u', $value ) ? $value : array( 'b64' => base64_encode( $value ) );
	}
}
