<?php
/*
 * The view from the host, for triage: bounded reading of /proc, configuration, logs. Nothing here changes anything.
 * Sent on top of the agent when it is asked for; WordPress need not be loaded. What the bytes mean is
 * decided by wpaudit, which is why they are sent as they are.
 */

final class Wpaudit_Host {
	const PROCESSES = 500;       // at most so many that could be of a web server
	const MOST      = 4503599627370496; // 2^52; what JSON can carry is enough for every disk
	const SCANNED   = 20000;     // at most so many looked at
	const SERVERS   = '~nginx: master|apache2|httpd|php-fpm|php\d*-fpm|lsphp|litespeed|openresty|angie|caddy|haproxy|varnishd~';

	public static function perform( $request ) {
		switch ( $request['op'] ) {
			case 'host-about':
				return self::about( base64_decode( $request['path'] ) );
			case 'host-disks':
				return array( 'disks' => self::disks( array_map( 'base64_decode', $request['paths'] ) ) );
			case 'host-real':
				return array( 'paths' => array_map( array( __CLASS__, 'real' ), array_slice( $request['paths'], 0, 200 ) ) );
			case 'host-files':
				return self::files( array_map( 'base64_decode', $request['patterns'] ), (int) $request['each'], (int) $request['total'] );
			case 'host-tails':
				return array( 'logs' => array_map( array( 'Wpaudit_Logs', 'tail' ), $request['logs'] ), 'offsets' => self::offsets(), 'time' => microtime( true ) );
			case 'host-kernel':
				return Wpaudit_Logs::kernel( (float) $request['since'] );
			case 'host-sockets':
				return Wpaudit_Talk::sockets( $request['sockets'] );
			case 'host-names':
				return Wpaudit_Talk::names( $request['names'] );
			case 'host-send':
				return Wpaudit_Talk::send( $request );
			case 'host-fastcgi':
				return Wpaudit_Talk::fastcgi( $request );
			case 'host-inside':
				return Wpaudit_Child::inside( $request );
		}
		throw new Wpaudit_Refusal( 'unknown', 'no such operation' );
	}

	/* ---- the machine ------------------------------------------------------------------------ */

	private static function about( $path ) {
		$hidden    = false;
		$processes = self::processes( $hidden );
		return array(
			'time'      => microtime( true ),
			'offsets'   => self::offsets(),
			'load'      => self::small( '/proc/loadavg' ),
			'memory'    => self::small( '/proc/meminfo' ),
			'cpus'      => preg_match_all( '/^cpu\d+ /m', self::small( '/proc/stat', 262144 ) ),
			'limit'     => self::small( '/sys/fs/cgroup/memory.max' ),
			'used'      => self::small( '/sys/fs/cgroup/memory.current' ),
			'processes' => $processes,
			'hidden'    => $hidden,
			'me'        => function_exists( 'posix_geteuid' ) ? posix_geteuid() : -1,
			'php'       => self::php(),
			'docroot'   => base64_encode( (string) ( realpath( $path ) ?: $path ) ),
			'site'      => self::site( $path ),
		);
	}

	public static function small( $path, $most = 8192 ) {
		$text = @file_get_contents( $path, false, null, 0, $most );
		return is_string( $text ) ? (string) preg_replace( '/[^\x09\x0a\x20-\x7e]/', '', $text ) : '';
	}

	private static function php() {
		$said = array( 'version' => PHP_VERSION, 'binary' => Wpaudit_Agent::text( PHP_BINARY ), 'temp' => Wpaudit_Agent::text( sys_get_temp_dir() ) );
		foreach ( array( 'error_log', 'memory_limit', 'date.timezone', 'disable_functions' ) as $name ) {
			$said[ $name ] = Wpaudit_Agent::text( (string) ini_get( $name ) );
		}
		return $said;
	}

	/* Literal constants of wp-config.php by its tokens: nothing is run for it, so a broken one can be read too. */
	private static function site( $path ) {
		$file = is_file( "$path/wp-config.php" ) ? "$path/wp-config.php" : dirname( $path ) . '/wp-config.php';
		$text = is_file( $file ) ? @file_get_contents( $file, false, null, 0, 262144 ) : false;
		$said = array( 'readable' => is_string( $text ), 'content' => '', 'debug' => '', 'debug_log' => '', 'host' => '' );
		$find = array( 'WP_CONTENT_DIR' => 'content', 'WP_DEBUG' => 'debug', 'WP_DEBUG_LOG' => 'debug_log', 'DB_HOST' => 'host' );
		foreach ( is_string( $text ) && function_exists( 'token_get_all' ) ? self::constants( $text, dirname( $file ) ) : array() as $name => $value ) {
			if ( isset( $find[ $name ] ) ) {
				$said[ $find[ $name ] ] = $value;
			}
		}
		return array_map( function ( $value ) {
			return is_bool( $value ) ? $value : Wpaudit_Agent::text( $value );
		}, $said );
	}

	/* define( 'NAME', literal ); with __DIR__ and ABSPATH in front of a string understood too. */
	private static function constants( $text, $directory ) {
		$found  = array();
		$tokens = array();
		foreach ( @token_get_all( $text ) as $token ) {
			if ( ! is_array( $token ) || ! in_array( $token[0], array( T_WHITESPACE, T_COMMENT, T_DOC_COMMENT ), true ) ) {
				$tokens[] = is_array( $token ) ? $token[1] : $token;
			}
		}
		$count = count( $tokens );
		for ( $at = 0; $at + 4 < $count; $at++ ) {
			if ( 'define' !== strtolower( $tokens[ $at ] ) || '(' !== $tokens[ $at + 1 ] || ',' !== $tokens[ $at + 3 ] ) {
				continue;
			}
			$value = '';
			for ( $part = $at + 4; $part < $count && ')' !== $tokens[ $part ]; $part++ ) {
				$word = $tokens[ $part ];
				if ( '__DIR__' === $word || 'ABSPATH' === $word ) {
					$value .= '__DIR__' === $word ? $directory : rtrim( $directory, '/' ) . '/';
				} elseif ( preg_match( '/^([\'"])(.*)\1$/s', $word, $match ) ) {
					$value .= stripslashes( $match[2] );
				} elseif ( '.' !== $word ) {
					$value = in_array( strtolower( $word ), array( 'true', '1' ), true ) ? 'true' : '';
					break;
				}
			}
			$found[ trim( $tokens[ $at + 2 ], '\'"' ) ] = $value;
		}
		return $found;
	}

	/* What local time may have been ahead of UTC lately, seconds: two values around a change of summer time. */
	private static function offsets() {
		$link = (string) @readlink( '/etc/localtime' );
		$name = preg_match( '~zoneinfo/(?:posix/|right/)?(.+)$~', $link, $match ) ? $match[1] : trim( self::small( '/etc/timezone' ) );
		try {
			$zone = new DateTimeZone( '' === $name ? 'UTC' : $name );
		} catch ( Exception $error ) {
			$zone = new DateTimeZone( 'UTC' );
		}
		$offsets = array();
		foreach ( array( 0, 3 * 3600 ) as $ago ) {
			$offsets[ $zone->getOffset( new DateTime( '@' . ( time() - $ago ) ) ) ] = true;
		}
		return array_keys( $offsets );
	}

	private static function processes( &$hidden ) {
		$found  = array();
		$seen   = 0;
		$others = false;
		foreach ( (array) @scandir( '/proc' ) as $pid ) {
			if ( ! ctype_digit( (string) $pid ) || ++$seen > self::SCANNED ) {
				continue;
			}
			$line   = (string) @file_get_contents( "/proc/$pid/cmdline", false, null, 0, 4096 );
			$others = $others || 1 === (int) $pid;
			if ( '' !== $line && preg_match( self::SERVERS, $line ) && count( $found ) < self::PROCESSES ) {
				$found[] = self::process( $pid, $line );
			}
		}
		$hidden = $seen > 0 && ! $others; // hidepid: other users' processes are not shown
		return $found;
	}

	private static function process( $pid, $line ) {
		$stat   = (string) @file_get_contents( "/proc/$pid/stat", false, null, 0, 2048 );
		$fields = explode( ' ', trim( (string) substr( (string) strrchr( $stat, ')' ), 1 ) ) );
		$pool   = false !== strpos( $line, ': pool ' );
		return array(
			'pid'     => (int) $pid,
			'parent'  => isset( $fields[1] ) ? (int) $fields[1] : 0,
			'state'   => isset( $fields[0] ) ? (string) substr( $fields[0], 0, 1 ) : '',
			'owner'   => (int) @fileowner( "/proc/$pid" ),
			'line'    => base64_encode( $line ),
			'program' => base64_encode( $pool ? '' : (string) @readlink( "/proc/$pid/exe" ) ),
			'waits'   => $pool ? Wpaudit_Agent::text( self::small( "/proc/$pid/wchan", 100 ) ) : '',
		);
	}

	/* Where a path leads to; as it is when it leads nowhere. */
	private static function real( $path ) {
		$path = base64_decode( $path );
		return base64_encode( (string) ( @realpath( $path ) ?: $path ) );
	}

	private static function disks( $paths ) {
		$disks  = array();
		$inodes = self::inodes( array_slice( array_filter( $paths, 'file_exists' ), 0, 50 ) );
		foreach ( array_slice( $paths, 0, 50 ) as $path ) {
			$size = @disk_total_space( $path );
			$free = @disk_free_space( $path );
			if ( false !== $size && false !== $free ) {
				$disks[] = array(
					'path' => base64_encode( $path ), 'size' => min( $size, self::MOST ), 'free' => min( $free, self::MOST ), 'device' => (int) @stat( $path )['dev'],
					'inodes' => isset( $inodes[ $path ] ) ? $inodes[ $path ] : -1,
				);
			}
		}
		return $disks;
	}

	/* PHP has no statvfs(); POSIX df has one line a path, in their order. */
	private static function inodes( $paths ) {
		$paths = array_values( $paths );
		$done  = $paths ? Wpaudit_Logs::run( array_merge( array( 'df', '-iP', '--' ), $paths ), 5 ) : array( 'out' => '' );
		$lines = array_slice( explode( "\n", trim( $done['out'] ) ), 1 );
		$found = array();
		foreach ( count( $lines ) === count( $paths ) ? $lines : array() as $at => $line ) {
			if ( preg_match( '/\s(\d+)\s+(\d+)\s+(\d+)\s+\S+%?\s/', $line, $match ) && (int) $match[1] > 0 ) {
				$found[ $paths[ $at ] ] = min( (int) $match[3], self::MOST );
			}
		}
		return $found;
	}

	/* ---- files ------------------------------------------------------------------------------ */

	/* The files that the patterns mean; only regular ones, so that no device or pipe can hold us. */
	private static function files( $patterns, $each, $total ) {
		$files = array();
		foreach ( array_slice( $patterns, 0, 500 ) as $pattern ) {
			$magic = false !== strpbrk( $pattern, '*?[' );
			$paths = $magic ? array_slice( (array) @glob( $pattern ), 0, 500 ) : array( $pattern );
			foreach ( $paths as $path ) {
				$file   = self::file( (string) $path, min( $each, $total ) );
				$total -= isset( $file['text'] ) ? (int) ( strlen( $file['text'] ) * 0.75 ) : 0;
				$files[] = array( 'pattern' => base64_encode( $pattern ) ) + $file;
			}
			$parent = $magic ? preg_replace( '~/[^/]*[*?\[].*$~', '', $pattern ) : '';
			if ( $magic && ! $paths && '' !== $parent && file_exists( $parent ) && ! is_readable( $parent ) ) {
				$files[] = array( 'pattern' => base64_encode( $pattern ), 'path' => base64_encode( $parent ), 'why' => Wpaudit_Agent::text( self::why( $parent ) ) );
			}
		}
		return array( 'files' => array_slice( $files, 0, 1000 ) );
	}

	private static function file( $path, $most ) {
		clearstatcache( true, $path );
		$said = array( 'path' => base64_encode( $path ) );
		if ( is_dir( $path ) ) {
			return $said + array( 'why' => 'is a directory' );
		}
		if ( ! is_file( $path ) ) {
			return $said + array( 'why' => Wpaudit_Agent::text( file_exists( $path ) ? 'is no regular file' : self::why( $path ) ) );
		}
		if ( ! is_readable( $path ) ) {
			return $said + array( 'why' => Wpaudit_Agent::text( self::why( $path ) ) );
		}
		$size = (int) @filesize( $path );
		if ( $size > $most ) {
			return $said + array( 'why' => "is too large ($size bytes)" );
		}
		return $said + array( 'text' => base64_encode( (string) @file_get_contents( $path, false, null, 0, $most ) ) );
	}

	/* Why a path cannot be read, and who may: the first directory on the way that is closed, else the file itself. */
	public static function why( $path ) {
		$way = '';
		foreach ( explode( '/', trim( dirname( $path ), '/' ) ) as $name ) {
			$way .= '/' . $name;
			if ( is_dir( $way ) && ! @is_executable( $way ) ) {
				return 'cannot be reached: ' . $way . ' ' . self::owners( $way );
			}
		}
		return file_exists( $path ) ? self::owners( $path ) : 'does not exist';
	}

	private static function owners( $path ) {
		$stat = @stat( $path );
		if ( ! $stat ) {
			return 'is closed';
		}
		$user  = function_exists( 'posix_getpwuid' ) ? posix_getpwuid( $stat['uid'] ) : false;
		$group = function_exists( 'posix_getgrgid' ) ? posix_getgrgid( $stat['gid'] ) : false;
		$user  = $user ? $user['name'] : $stat['uid'];
		$group = $group ? $group['name'] : $stat['gid'];
		$open  = $stat['mode'] & 0040 ? "; group $group may read it" : '';
		return sprintf( 'belongs to %s:%s with mode %04o%s', $user, $group, $stat['mode'] & 07777, $open );
	}
}
