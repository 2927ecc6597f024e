<?php
/*
 * The flight recorder: required by the must-use plugin for a signed request that asks for it, and for no other.
 *
 * Before a callback of a plugin, a must-use plugin or the theme runs, "who @ hook" is in a file on disk; after it,
 * the line is crossed out. So the file names what was running when the worker died, whatever killed it. Beside that it
 * adds up what each of them costs. What was running is a hint for the search, never a verdict.
 *
 * Three parts: Tape is the file and the sums, Owners says whose a callback is, Recorder watches WordPress.
 * One copy per run, __TOKEN__ replaced. PHP 7.2 and newer. inside.php takes the classes for a page that it makes itself.
 */

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

/*
 * The file, 64 KiB from its first moment: one line of version, 64 slots of 256 bytes for the stack of frames, the
 * sums as one line of JSON. A frame is a line "+seconds output owner TAB hook TAB callback TAB place"; crossed out it begins
 * with "-". The place is where the callback stands, "acme/inc/file.php:10-20", and is left out where it does not fit.
 * Nothing is buffered here, so what was written is in the kernel's hands when PHP dies.
 */
final class Wpaudit_Tape___TOKEN__ {
	const SIZE  = 65536;
	const HEAD  = 256;
	const SLOT  = 256;
	const SLOTS = 64;   // deeper frames share the last one
	const EVERY = 0.05; // seconds between two flushes of the sums
	const MOST  = 400;  // owners in the sums

	public static $end       = null;    // how the request ended: see Recorder
	public static $done      = false;   // whether all shutdown functions were run
	public static $redirects = array(); // [owner, frame, status, location]
	public static $unwrapped = 0;       // callbacks that could not be watched

	private static $file    = null;
	private static $depth   = 0;
	private static $frames  = array(); // [owner, label] by depth
	private static $sums    = array();
	private static $hosts   = array(); // owner => host => seconds
	private static $codes   = array(); // [owner, frame, status code]
	private static $last    = '';      // the frame that ended last
	private static $output  = null;    // the frame that sent the first output
	private static $sent    = false;
	private static $started = 0.0;
	private static $now     = 0.0;
	private static $flushed = 0.0;
	private static $peak    = 0;
	private static $headers = 0;
	private static $code    = 200;

	/* A redirect that is followed brings the same nonce again: each request gets a file, up to eight. Or a stream is given. */
	public static function open( $path ) {
		self::$file = is_resource( $path ) ? $path : null;
		for ( $part = 0; $part < 8 && ! self::$file; $part++ ) {
			self::$file = @fopen( $path . '-rec' . $part, 'xb' );
		}
		if ( ! self::$file ) {
			return false;
		}
		stream_set_write_buffer( self::$file, 0 );
		flock( self::$file, LOCK_EX ); // as long as this process works on the request: a proxy may have answered before
		self::$started = self::$now = isset( $_SERVER['REQUEST_TIME_FLOAT'] ) ? (float) $_SERVER['REQUEST_TIME_FLOAT'] : microtime( true );
		self::$peak    = memory_get_peak_usage();
		self::$headers = strlen( implode( "\r\n", headers_list() ) );
		self::$code    = http_response_code();
		self::owner( 'c' );
		return self::SIZE === @fwrite( self::$file, str_pad( "wpaudit-recording 1\n", self::SIZE, "\0" ) );
	}

	/* ---- frames ----------------------------------------------------------------------------- */

	public static function label( $owner, $hook, $what, $place = '' ) {
		self::owner( $owner );
		$text = substr( $owner, 0, 80 ) . "\t" . self::clean( $hook, 90 ) . "\t" . self::clean( $what, 64 );
		if ( '' !== $place && strlen( $text . $place ) < self::SLOT - 20 && self::clean( $place, self::SLOT ) === $place ) {
			$text .= "\t" . $place;
		}
		return str_pad( $text, self::SLOT - 17 ) . "\n";
	}

	public static function clean( $text, $most ) {
		return preg_replace( '/[^\x20-\x7e]/', '?', substr( (string) $text, 0, $most ) );
	}

	/* Returns what to give to pop(). */
	public static function push( $owner, $label ) {
		self::charge();
		$depth = self::$depth++;
		self::$sums[ $owner ][0]++;
		self::$frames[ $depth ] = array( $owner, $label );
		self::write( $depth, sprintf( '+%12.6F %d ', self::$now - self::$started, self::$sent ) . $label );
		return $depth;
	}

	public static function pop( $depth ) {
		if ( self::$depth <= $depth ) {
			return;
		}
		self::charge();
		self::$last = self::$frames[ $depth ][1];
		while ( self::$depth > $depth ) {
			self::write( --self::$depth, '-' );
		}
		if ( self::$now - self::$flushed > self::EVERY ) {
			self::flush();
		}
	}

	private static function write( $depth, $text ) {
		fseek( self::$file, self::HEAD + self::SLOT * min( $depth, self::SLOTS - 1 ) );
		@fwrite( self::$file, $text );
	}

	/* The innermost frame: array( owner, label ). */
	public static function top() {
		return self::$depth ? self::$frames[ self::$depth - 1 ] : array( 'c', '' );
	}

	/* ---- sums ------------------------------------------------------------------------------- */

	/* calls, own seconds, growth of the peak of memory, header bytes, queries, their seconds, requests sent, their seconds */
	private static function owner( $owner ) {
		if ( ! isset( self::$sums[ $owner ] ) ) {
			self::$sums[ $owner ] = array( 0, 0.0, 0, 0, 0, 0.0, 0, 0.0 );
		}
	}

	/* What was spent since the last time goes to whoever was running. */
	public static function charge() {
		$who                    = self::$depth ? self::$frames[ self::$depth - 1 ][0] : 'c';
		$now                    = microtime( true );
		self::$sums[ $who ][1] += $now - self::$now;
		self::$now              = $now;
		$peak                   = memory_get_peak_usage();
		if ( $peak > self::$peak ) {
			self::$sums[ $who ][2] += $peak - self::$peak;
			self::$peak             = $peak;
		}
		if ( ! self::$sent ) {
			self::charge_headers( $who );
		}
	}

	private static function charge_headers( $who ) {
		if ( headers_sent() ) {
			self::$sent   = true;
			self::$output = self::top();
		}
		$headers = strlen( implode( "\r\n", headers_list() ) );
		if ( $headers !== self::$headers ) {
			self::$sums[ $who ][3] += $headers - self::$headers;
			self::$headers          = $headers;
		}
		$code = http_response_code();
		if ( $code !== self::$code ) {
			self::$code = $code;
			if ( count( self::$codes ) < 8 ) {
				self::$codes[] = array( $who, self::plain( self::top()[1] ), $code );
			}
		}
	}

	public static function headers( $owner, $bytes ) {
		self::$sums[ $owner ][3] += $bytes;
	}

	public static function queried( $seconds ) {
		$who                    = self::top()[0];
		self::$sums[ $who ][4] += 1;
		self::$sums[ $who ][5] += $seconds;
	}

	public static function requested( $host, $seconds ) {
		$who                    = self::top()[0];
		self::$sums[ $who ][6] += 1;
		self::$sums[ $who ][7] += $seconds;
		$before                 = isset( self::$hosts[ $who ][ $host ] ) ? self::$hosts[ $who ][ $host ] : 0.0;
		if ( $before || ! isset( self::$hosts[ $who ] ) || count( self::$hosts[ $who ] ) < 5 ) {
			self::$hosts[ $who ][ $host ] = $before + $seconds;
		}
	}

	public static function plain( $label ) {
		return explode( "\t", rtrim( $label ) );
	}

	public static function flush() {
		self::$flushed = self::$now;
		$sums          = self::$sums;
		if ( count( $sums ) > self::MOST ) {
			arsort( $sums );
			$sums = array_slice( $sums, 0, self::MOST, true );
		}
		$said = array(
			'end' => self::$end, 'done' => self::$done, 'seconds' => self::$now - self::$started, 'peak' => self::$peak,
			'headers' => self::$headers, 'output' => self::$output ? self::plain( self::$output[1] ) : null, 'sent' => self::$sent,
			'last' => self::plain( self::$last ), 'codes' => self::$codes, 'redirects' => self::$redirects, 'hosts' => self::$hosts,
			'unwrapped' => self::$unwrapped, 'sums' => $sums,
		);
		$from = self::HEAD + self::SLOT * self::SLOTS;
		foreach ( array( array(), array( 'hosts' => array(), 'sums' => array_slice( $sums, 0, 50, true ) ) ) as $less ) {
			$text = '= ' . json_encode( $less + $said, JSON_UNESCAPED_SLASHES | JSON_PARTIAL_OUTPUT_ON_ERROR ) . "\n";
			if ( strlen( $text ) <= self::SIZE - $from ) {
				fseek( self::$file, $from );
				@fwrite( self::$file, $text );
				return;
			}
		}
	}
}

/*
 * Whose code a callback is: "p3" for suspect 3 of the run's list ("p3,p4" where a directory holds several), "m:FILE" a
 * must-use plugin, "t:DIRECTORY" a theme, "o:PATH" something else outside core; '' what is not watched: core, PHP, wpaudit.
 */
final class Wpaudit_Owners___TOKEN__ {
	private static $exact   = array(); // plugin file => owner
	private static $folders = array(); // directory => owner
	private static $files   = array(); // file with code => owner
	private static $ours    = array();

	public static function know( $suspects, $ours ) {
		self::$ours = array_map( 'wp_normalize_path', $ours );
		foreach ( $suspects as $i => $file ) {
			$file                 = base64_decode( $file );
			$folder               = dirname( $file );
			self::$exact[ $file ] = "p$i";
			if ( '.' !== $folder ) {
				$others                   = isset( self::$folders[ $folder ] ) ? self::$folders[ $folder ] . ',' : '';
				self::$folders[ $folder ] = $others . "p$i";
			}
		}
	}

	/*
	 * array( owner, mask of parameters taken by reference, place ). The owner is null while the class is not loaded: asking
	 * would load it before its time. Nothing is returned for what no reflection can tell.
	 */
	public static function inspect( $callback ) {
		try {
			if ( is_string( $callback ) && strpos( $callback, '::' ) ) {
				$callback = explode( '::', $callback, 2 );
			}
			if ( $callback instanceof Closure || is_string( $callback ) ) {
				return self::code( new ReflectionFunction( $callback ), '' );
			}
			if ( is_object( $callback ) ) {
				$callback = array( $callback, '__invoke' );
			}
			if ( ! isset( $callback[0], $callback[1] ) || ! is_string( $callback[1] ) ) {
				return null;
			}
			if ( is_string( $callback[0] ) && ! class_exists( $callback[0], false ) ) {
				return array( null, 0, '' );
			}
			$class = new ReflectionClass( $callback[0] );
			if ( ! $class->hasMethod( $callback[1] ) ) {
				return array( self::file( $class->getFileName() ), 0, self::place( $class ) ); // __call
			}
			return self::code( $class->getMethod( $callback[1] ), $class->getFileName() );
		} catch ( ReflectionException $error ) {
			return null;
		}
	}

	private static function code( $function, $class_file ) {
		$owner = self::file( $function->getFileName() );
		if ( '' === $owner && $class_file ) {
			$owner = self::file( $class_file ); // a plugin's widget runs core's WP_Widget::display_callback()
		}
		$mask = 0;
		foreach ( '' === $owner ? array() : $function->getParameters() as $i => $parameter ) {
			if ( $parameter->isPassedByReference() ) {
				$mask |= $parameter->isVariadic() ? 1 << 8 : 1 << min( $i, 8 );
			}
		}
		return array( $owner, $mask, '' === $owner ? '' : self::place( $function ) );
	}

	/* Where a function or class of a plugin stands: "acme/inc/file.php:10-20". */
	private static function place( $reflection ) {
		$path = self::in_plugins( $reflection->getFileName() );
		return $path ? $path . ':' . $reflection->getStartLine() . '-' . $reflection->getEndLine() : '';
	}

	/* A path as plugins are named: below their directory, '' when it is not. */
	public static function in_plugins( $file ) {
		$path = self::unlinked( wp_normalize_path( (string) $file ) );
		foreach ( self::roots() as $root => $kind ) {
			if ( 'p' === $kind && 0 === strpos( $path, $root . '/' ) ) {
				return substr( $path, strlen( $root ) + 1 );
			}
		}
		return '';
	}

	public static function file( $file ) {
		if ( ! is_string( $file ) || '' === $file ) {
			return '';
		}
		if ( ! isset( self::$files[ $file ] ) ) {
			self::$files[ $file ] = self::sorted_in( wp_normalize_path( $file ) );
		}
		return self::$files[ $file ];
	}

	private static function sorted_in( $path ) {
		foreach ( self::$ours as $ours ) {
			if ( 0 === strpos( $path, $ours ) ) {
				return '';
			}
		}
		$path = self::unlinked( $path );
		foreach ( self::roots() as $root => $kind ) {
			if ( 0 === strpos( $path, $root . '/' ) ) {
				return self::within( $kind, substr( $path, strlen( $root ) + 1 ) );
			}
		}
		return 'o:' . Wpaudit_Tape___TOKEN__::clean( substr( $path, -70 ), 70 );
	}

	/* A plugin's directory may be a link; PHP tells where it leads to. */
	private static function unlinked( $path ) {
		foreach ( isset( $GLOBALS['wp_plugin_paths'] ) ? $GLOBALS['wp_plugin_paths'] : array() as $link => $directory ) {
			if ( 0 === strpos( $path, $directory . '/' ) ) {
				$path = $link . substr( $path, strlen( $directory ) );
			}
		}
		return $path;
	}

	private static function roots() {
		static $roots = array();
		if ( ! $roots ) {
			$content = array( 'p' => WP_PLUGIN_DIR, 'm' => WPMU_PLUGIN_DIR, 't' => WP_CONTENT_DIR . '/themes' );
			foreach ( $content + array( 'c' => ABSPATH . 'wp-includes', 'a' => ABSPATH . 'wp-admin' ) as $kind => $directory ) {
				$roots[ wp_normalize_path( $directory ) ]                       = $kind;
				$roots[ wp_normalize_path( (string) realpath( $directory ) ) ] = $kind;
			}
			unset( $roots[''] );
		}
		return $roots;
	}

	private static function within( $kind, $rest ) {
		if ( 'c' === $kind || 'a' === $kind ) {
			return '';
		}
		if ( 'p' !== $kind ) {
			return $kind . ':' . Wpaudit_Tape___TOKEN__::clean( 't' === $kind ? strtok( $rest, '/' ) : $rest, 70 );
		}
		if ( isset( self::$exact[ $rest ] ) ) {
			return self::$exact[ $rest ];
		}
		for ( $folder = dirname( $rest ); '.' !== $folder; $folder = dirname( $folder ) ) {
			if ( isset( self::$folders[ $folder ] ) ) {
				return self::$folders[ $folder ];
			}
		}
		return 'o:plugins/' . Wpaudit_Tape___TOKEN__::clean( $rest, 60 );
	}
}

/*
 * Watches WordPress through `all`, which runs a moment before every hook. A callback is wrapped when its hook is about to
 * run: its key, priority and number of arguments stay (WP_Hook finds callbacks by key, and the wrapper keeps the original
 * alive, so that spl_object_id() is not given to another), only 'function' is replaced. What runs outside of hooks is
 * framed by the hooks around it.
 */
final class Wpaudit_Recorder___TOKEN__ {
	/* hook => method that is told before the hook runs; it gets the hook's arguments behind its name */
	private static $events = array(
		'mu_plugin_loaded' => 'included', 'network_plugin_loaded' => 'included', 'plugin_loaded' => 'included',
		'muplugins_loaded' => 'next_stage', 'plugins_loaded' => 'next_stage', 'shutdown' => 'note_end',
		'wp_php_error_message' => 'note_end', 'wp_redirect' => 'redirected', 'log_query_custom_data' => 'queried',
		'requests-requests.before_request' => 'sends', 'http_api_debug' => 'sent', 'pre_do_shortcode_tag' => 'shortcode',
		'do_shortcode_tag' => 'shortcode_end', 'rest_request_before_callbacks' => 'rest_permission',
		'rest_dispatch_request' => 'rest_callback', 'rest_request_after_callbacks' => 'rest_end',
		'render_block_context' => 'block', 'render_block' => 'block_end', 'dynamic_sidebar' => 'widget',
		'dynamic_sidebar_after' => 'widget_end',
	);

	private static $dressed  = array(); // hook => its callbacks as they were when all were wrapped
	private static $stage    = 'must-use';
	private static $queue    = null;    // paths still to be included in this stage, the present one first
	private static $sitewide = array();
	private static $met      = array(); // labels that were entered before
	private static $fresh    = array(); // depth => whether its label was new
	private static $open     = array(); // kind => depths of frames between two hooks
	private static $sending  = null;    // array( host, since )
	private static $trimmed  = false;

	public static function start( $path, $suspects, $ours ) {
		if ( ! Wpaudit_Tape___TOKEN__::open( $path ) ) {
			return;
		}
		Wpaudit_Owners___TOKEN__::know( $suspects, $ours );
		if ( ! defined( 'SAVEQUERIES' ) ) {
			define( 'SAVEQUERIES', true ); // the only way in which wpdb tells how long a query took
			self::$trimmed = true;
		}
		self::$queue = wp_get_mu_plugins();
		add_filter( 'option_active_plugins', array( __CLASS__, 'listed' ), PHP_INT_MAX );
		add_filter( 'site_option_active_sitewide_plugins', array( __CLASS__, 'listed_sitewide' ), PHP_INT_MAX );
		add_filter( 'pre_do_shortcode_tag', array( __CLASS__, 'shortcode_spared' ), PHP_INT_MAX );
		register_shutdown_function( array( __CLASS__, 'ending' ) );
		add_action( 'all', array( __CLASS__, 'before' ), PHP_INT_MIN );
	}

	public static function before( $hook ) {
		if ( isset( self::$events[ $hook ] ) ) {
			$method = self::$events[ $hook ];
			self::$method( func_get_args() );
		}
		// Two arrays that were never written to since they were copied compare equal by their address.
		if ( isset( $GLOBALS['wp_filter'][ $hook ] )
			&& ( ! isset( self::$dressed[ $hook ] ) || self::$dressed[ $hook ] !== $GLOBALS['wp_filter'][ $hook ]->callbacks ) ) {
			self::dress( $hook );
		}
	}

	/* ---- wrapping --------------------------------------------------------------------------- */

	private static function dress( $hook ) {
		$running = $GLOBALS['wp_filter'][ $hook ];
		$before  = isset( self::$dressed[ $hook ] ) ? self::$dressed[ $hook ] : array();
		foreach ( $running->callbacks as $priority => $entries ) {
			foreach ( $entries as $key => $entry ) {
				if ( isset( $before[ $priority ][ $key ] ) && $before[ $priority ][ $key ]['function'] === $entry['function'] ) {
					continue;
				}
				$wrapper = self::wrapper( $hook, $entry['function'] );
				if ( $wrapper ) {
					$running->callbacks[ $priority ][ $key ]['function'] = $wrapper;
				}
			}
		}
		self::$dressed[ $hook ] = $running->callbacks;
	}

	private static function wrapper( $hook, $callback ) {
		$found = Wpaudit_Owners___TOKEN__::inspect( $callback );
		if ( ! $found || '' === $found[0] ) {
			return null;
		}
		$seat = null === $found[0] ? null : self::seat( $found[0], $hook, $callback, $found[2] );
		if ( $found[1] ) {
			return self::by_reference( $found[1], $callback, $seat );
		}
		if ( 'wp_headers' === $hook && $seat ) {
			$callback = self::counting( $callback, $seat[0] );
		}
		return static function ( ...$arguments ) use ( $callback, $hook, $seat ) {
			$depth = self::enter( $seat ? $seat : self::late_seat( $hook, $callback ) );
			try {
				return call_user_func_array( $callback, $arguments );
			} finally {
				self::leave( $depth );
			}
		};
	}

	/* WordPress itself sends what this filter returns, so what a callback adds there is measured there. */
	private static function counting( $callback, $owner ) {
		return static function ( ...$arguments ) use ( $callback, $owner ) {
			$headers = call_user_func_array( $callback, $arguments );
			Wpaudit_Tape___TOKEN__::headers( $owner, self::size( $headers ) - self::size( isset( $arguments[0] ) ? $arguments[0] : null ) );
			return $headers;
		};
	}

	private static function size( $headers ) {
		$size = 0;
		foreach ( is_array( $headers ) ? $headers : array() as $name => $value ) {
			$size += is_scalar( $value ) ? strlen( "$name: $value\r\n" ) : 0;
		}
		return $size;
	}

	/*
	 * PHP has no parameter that takes a reference or a value, whichever comes. So: one signature for each pattern in use.
	 * The arguments that were not given must not be given on. What PHP 8 was given by name comes last, by value; no name
	 * of ours may be one of theirs.
	 */
	private static function by_reference( $mask, $callback, $seat ) {
		$run = static function ( $count, $arguments ) use ( $callback, $seat ) {
			$named = array_filter( $arguments, 'is_string', ARRAY_FILTER_USE_KEY );
			$depth = self::enter( $seat );
			try {
				return call_user_func_array( $callback, array_slice( $arguments, 0, $count ) + $named );
			} finally {
				self::leave( $depth );
			}
		};
		switch ( $mask ) {
			case 1:
				return static function ( &$_1 = null, ...$_more ) use ( $run ) {
					return $run( func_num_args(), array_merge( array( &$_1 ), $_more ) );
				};
			case 2:
				return static function ( $_1 = null, &$_2 = null, ...$_more ) use ( $run ) {
					return $run( func_num_args(), array_merge( array( $_1, &$_2 ), $_more ) );
				};
			case 3:
				return static function ( &$_1 = null, &$_2 = null, ...$_more ) use ( $run ) {
					return $run( func_num_args(), array_merge( array( &$_1, &$_2 ), $_more ) );
				};
			case 4:
				return static function ( $_1 = null, $_2 = null, &$_3 = null, ...$_more ) use ( $run ) {
					return $run( func_num_args(), array_merge( array( $_1, $_2, &$_3 ), $_more ) );
				};
			case 7:
				return static function ( &$_1 = null, &$_2 = null, &$_3 = null, ...$_more ) use ( $run ) {
					return $run( func_num_args(), array_merge( array( &$_1, &$_2, &$_3 ), $_more ) );
				};
		}
		++Wpaudit_Tape___TOKEN__::$unwrapped;
		return null;
	}

	/* Where a frame sits: array( owner, label ). */
	private static function seat( $owner, $hook, $callback, $place ) {
		if ( is_array( $callback ) ) {
			$what = ( is_object( $callback[0] ) ? get_class( $callback[0] ) : $callback[0] ) . '::' . $callback[1];
		} else {
			$what = is_object( $callback ) ? get_class( $callback ) : $callback;
		}
		return array( $owner, Wpaudit_Tape___TOKEN__::label( $owner, $hook, $what, $place ) );
	}

	/* The class was not loaded when its hook began. It is about to be used, so now it may be. */
	private static function late_seat( $hook, $callback ) {
		is_callable( $callback );
		$found = Wpaudit_Owners___TOKEN__::inspect( $callback );
		return self::seat( $found && $found[0] ? $found[0] : 'c', $hook, $callback, $found ? $found[2] : '' );
	}

	/*
	 * PHP runs functions of register_shutdown_function() in order, and cannot be asked for them. So the first time that
	 * a callback runs, one of ours goes before and one after whatever it registers: the frame is there again then.
	 */
	private static function enter( $seat ) {
		$fresh = ! Wpaudit_Tape___TOKEN__::$end && ! isset( self::$met[ $seat[1] ] );
		if ( $fresh ) {
			self::$met[ $seat[1] ] = true;
			register_shutdown_function( array( __CLASS__, 'reopen' ), $seat );
		}
		$depth                 = Wpaudit_Tape___TOKEN__::push( $seat[0], $seat[1] );
		self::$fresh[ $depth ] = $fresh;
		return $depth;
	}

	private static function leave( $depth ) {
		Wpaudit_Tape___TOKEN__::pop( $depth );
		if ( self::$fresh[ $depth ] ) {
			self::$fresh[ $depth ] = false;
			register_shutdown_function( array( __CLASS__, 'reclose' ) );
		}
		// What the callback has added to hooks that are running is called without another word from `all`.
		foreach ( $GLOBALS['wp_current_filter'] as $hook ) {
			if ( isset( self::$dressed[ $hook ], $GLOBALS['wp_filter'][ $hook ] )
				&& self::$dressed[ $hook ] !== $GLOBALS['wp_filter'][ $hook ]->callbacks ) {
				self::dress( $hook );
			}
		}
	}

	public static function reopen( $seat ) {
		$said                           = Wpaudit_Tape___TOKEN__::plain( $seat[1] );
		$place                          = isset( $said[3] ) ? $said[3] : '';
		$label                          = Wpaudit_Tape___TOKEN__::label( $seat[0], 'shutdown function of ' . $said[1], $said[2], $place );
		self::$open['shutdown'][]       = Wpaudit_Tape___TOKEN__::push( $seat[0], $label );
	}

	public static function reclose() {
		self::end( 'shutdown' );
	}

	/* ---- frames between two hooks ----------------------------------------------------------- */

	private static function begin( $kind, $hook, $callback ) {
		$found = $callback ? Wpaudit_Owners___TOKEN__::inspect( $callback ) : null;
		$owner = $found ? $found[0] : '';
		self::$open[ $kind ][] = $owner ? self::enter( self::seat( $owner, $hook, $callback, $found[2] ) ) : null;
	}

	private static function end( $kind ) {
		$depth = empty( self::$open[ $kind ] ) ? null : array_pop( self::$open[ $kind ] );
		if ( null !== $depth ) {
			'shutdown' === $kind ? Wpaudit_Tape___TOKEN__::pop( $depth ) : self::leave( $depth );
		}
	}

	private static function shortcode( $said ) {
		$tags = $GLOBALS['shortcode_tags'];
		self::begin( 'shortcode', '[' . $said[2] . ']', isset( $tags[ $said[2] ] ) ? $tags[ $said[2] ] : null );
	}

	/* Behind all others on pre_do_shortcode_tag: who answers there spares WordPress the shortcode. */
	public static function shortcode_spared( $output ) {
		if ( false !== $output ) {
			self::end( 'shortcode' );
		}
		return $output;
	}

	private static function shortcode_end() {
		self::end( 'shortcode' );
	}

	private static function rest_permission( $said ) {
		$handler = is_array( $said[2] ) ? $said[2] : array();
		self::begin( 'rest', 'REST permission', isset( $handler['permission_callback'] ) ? $handler['permission_callback'] : null );
	}

	private static function rest_callback( $said ) {
		self::end( 'rest' );
		self::begin( 'rest', 'REST ' . $said[3], isset( $said[4]['callback'] ) ? $said[4]['callback'] : null );
	}

	private static function rest_end() {
		self::end( 'rest' );
	}

	private static function block( $said ) {
		$name = isset( $said[2]['blockName'] ) ? (string) $said[2]['blockName'] : '';
		$type = $name ? WP_Block_Type_Registry::get_instance()->get_registered( $name ) : null;
		self::begin( 'block', 'block ' . $name, $type && $type->render_callback ? $type->render_callback : null );
	}

	private static function block_end() {
		self::end( 'block' );
	}

	private static function widget( $said ) {
		self::end( 'widget' );
		self::begin( 'widget', 'widget', isset( $said[1]['callback'] ) ? $said[1]['callback'] : null );
	}

	private static function widget_end() {
		self::end( 'widget' );
	}

	/* ---- plugins being included ------------------------------------------------------------- */

	/* Behind the filter that takes plugins off: the list that WordPress is about to include. */
	public static function listed( $files ) {
		if ( 'plugins' === self::$stage && null === self::$queue && '' === Wpaudit_Tape___TOKEN__::top()[1] ) {
			self::$queue = array_values( array_diff( self::paths( $files ), self::$sitewide ) );
			self::include_next();
		}
		return $files;
	}

	public static function listed_sitewide( $files ) {
		if ( 'must-use' === self::$stage && array() === self::$queue && is_multisite() ) {
			$names = is_array( $files ) ? array_keys( $files ) : array();
			sort( $names ); // as wp_get_active_network_plugins() does
			self::$queue    = self::paths( $names );
			self::$sitewide = self::$queue;
			self::include_next();
		}
		return $files;
	}

	/* As wp_get_active_and_valid_plugins() chooses. */
	private static function paths( $files ) {
		$paths = array();
		foreach ( is_array( $files ) ? $files : array() as $file ) {
			if ( is_string( $file ) && ! validate_file( $file ) && '.php' === substr( $file, -4 ) && is_file( WP_PLUGIN_DIR . '/' . $file ) ) {
				$paths[] = WP_PLUGIN_DIR . '/' . $file;
			}
		}
		return $paths;
	}

	private static function included( $said ) {
		$at = self::$queue ? array_search( $said[1], self::$queue, true ) : false;
		if ( false !== $at ) {
			self::end( 'include' );
			self::$queue = array_slice( self::$queue, $at + 1 );
			self::include_next();
		}
	}

	private static function include_next() {
		if ( self::$queue ) {
			$owner = Wpaudit_Owners___TOKEN__::file( self::$queue[0] );
			$place = Wpaudit_Owners___TOKEN__::in_plugins( self::$queue[0] );
			self::$open['include'][] = $owner ? self::enter( self::seat( $owner, 'include', basename( self::$queue[0] ), $place ) ) : null;
		}
	}

	private static function next_stage( $said ) {
		self::end( 'include' );
		self::$queue = null;
		self::$stage = 'muplugins_loaded' === $said[0] ? 'plugins' : 'done';
	}

	/* ---- what else is noted ----------------------------------------------------------------- */

	private static function redirected( $said ) {
		$to    = wp_parse_url( (string) $said[1] );
		$frame = Wpaudit_Tape___TOKEN__::top();
		$where = ( isset( $to['host'] ) ? $to['host'] : '' ) . ( isset( $to['path'] ) ? $to['path'] : '/' );
		if ( count( Wpaudit_Tape___TOKEN__::$redirects ) < 8 ) {
			Wpaudit_Tape___TOKEN__::$redirects[] = array(
				$frame[0], Wpaudit_Tape___TOKEN__::plain( $frame[1] ), isset( $said[2] ) ? (int) $said[2] : 302,
				Wpaudit_Tape___TOKEN__::clean( $where, 120 ),
			);
		}
	}

	private static function queried( $said ) {
		global $wpdb;
		Wpaudit_Tape___TOKEN__::queried( (float) $said[3] );
		if ( self::$trimmed && isset( $wpdb->queries[200] ) ) {
			$wpdb->queries = array(); // nobody asked for the log, so it must not use up memory
		}
	}

	private static function sends( $said ) {
		if ( self::$sending ) {
			return; // a redirect of the request that is under way
		}
		$host          = isset( $said[1][0] ) ? (string) wp_parse_url( (string) $said[1][0], PHP_URL_HOST ) : '';
		self::$sending = array( Wpaudit_Tape___TOKEN__::clean( $host, 80 ), microtime( true ) );
		$owner         = Wpaudit_Tape___TOKEN__::top()[0];
		$label         = Wpaudit_Tape___TOKEN__::label( $owner, 'request to ' . self::$sending[0], '' );

		self::$open['request'][] = Wpaudit_Tape___TOKEN__::push( $owner, $label );
	}

	private static function sent() {
		if ( self::$sending ) {
			Wpaudit_Tape___TOKEN__::requested( self::$sending[0], microtime( true ) - self::$sending[1] ); // before the sums are written down
			Wpaudit_Tape___TOKEN__::pop( array_pop( self::$open['request'] ) );
			self::$sending = null;
		}
	}

	/* ---- the end ---------------------------------------------------------------------------- */

	/* The first moment after the end of the request proper: frames that are open now were left by exit, or by a fatal error. */
	private static function note_end() {
		if ( Wpaudit_Tape___TOKEN__::$end ) {
			return;
		}
		$error = error_get_last();
		$fatal = $error && ( $error['type'] & ( E_ERROR | E_PARSE | E_CORE_ERROR | E_COMPILE_ERROR | E_USER_ERROR | E_RECOVERABLE_ERROR ) );
		$frame = Wpaudit_Tape___TOKEN__::top();

		Wpaudit_Tape___TOKEN__::$end = array(
			'how' => $fatal ? 'fatal' : ( $frame[1] ? 'exit' : 'returned' ), 'frame' => Wpaudit_Tape___TOKEN__::plain( $frame[1] ),
			'error' => $fatal ? Wpaudit_Tape___TOKEN__::clean( strtok( $error['message'], "\n" ), 300 ) : '',
			'file' => $fatal ? Wpaudit_Owners___TOKEN__::file( $error['file'] ) : '',
			'line' => $fatal ? Wpaudit_Tape___TOKEN__::clean( basename( $error['file'] ), 60 ) . ':' . (int) $error['line'] : '',
			'place' => $fatal ? Wpaudit_Tape___TOKEN__::clean( Wpaudit_Owners___TOKEN__::in_plugins( $error['file'] ), 200 ) . ':' . (int) $error['line'] : '',
		);
		Wpaudit_Tape___TOKEN__::charge();
		Wpaudit_Tape___TOKEN__::pop( 0 );
		Wpaudit_Tape___TOKEN__::flush();
	}

	public static function ending() {
		self::note_end();
		register_shutdown_function( array( __CLASS__, 'ended' ) );
	}

	public static function ended() {
		Wpaudit_Tape___TOKEN__::charge();
		Wpaudit_Tape___TOKEN__::$done = true;
		Wpaudit_Tape___TOKEN__::flush();
	}
}
