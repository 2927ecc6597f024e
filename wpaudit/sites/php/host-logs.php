<?php
/* The view from the host: the ends of logs, and what a few commands of the system print. Bounded, read only. */

final class Wpaudit_Logs {
	const OUTPUT = 262144; // bytes kept of what a command prints

	/*
	 * The end of one log, from byte `from` on, at most `most`; from its start when it was rotated since. Of an access log only the lines
	 * that hold one of `words`, and some others of the same clients.
	 */
	public static function tail( $log ) {
		$path = base64_decode( $log['path'] );
		$said = array( 'path' => $log['path'] );
		clearstatcache( true, $path );
		if ( ! is_file( $path ) || ! is_readable( $path ) ) {
			return $said + array( 'why' => Wpaudit_Agent::text( file_exists( $path ) && ! is_file( $path ) ? 'is no regular file' : Wpaudit_Host::why( $path ) ) );
		}
		$stat    = stat( $path );
		$most    = (int) $log['most'];
		$handle  = @fopen( $path, 'rb' );
		$rotated = (int) $log['inode'] && ( (int) $log['inode'] !== $stat['ino'] || (int) $log['known'] > $stat['size']
			|| self::print_of( $handle, (int) $log['known'] ) !== $log['print'] );
		$start   = max( $rotated ? 0 : (int) $log['from'], $stat['size'] - $most );
		$print   = self::print_of( $handle, $stat['size'] );
		$text    = '';
		if ( $handle && $most > 0 ) {
			fseek( $handle, $start );
			$text = (string) stream_get_contents( $handle, $most );
		}
		$handle && fclose( $handle );
		if ( $rotated && $most > 0 && (int) $log['inode'] === (int) @fileinode( $path . '.1' ) ) {
			$text = (string) @file_get_contents( $path . '.1', false, null, (int) $log['from'], $most ) . $text; // logrotate's name for it
		}
		$text = $log['words'] ? self::picked( $text, array_map( 'base64_decode', $log['words'] ) ) : $text;
		return $said + array(
			'size' => $stat['size'], 'inode' => $stat['ino'], 'start' => $start, 'text' => base64_encode( $text ), 'print' => $print,
		);
	}

	/* What tells a log from one that was emptied and grew again: the bytes in front of where we were. */
	private static function print_of( $handle, $at ) {
		$from = max( 0, $at - 64 );
		if ( ! $handle || 0 !== fseek( $handle, $from ) || $at < 1 ) {
			return '';
		}
		return md5( (string) fread( $handle, $at - $from ) );
	}

	private static function picked( $text, $words ) {
		$text    = "\n" . $text;
		$lines   = array();
		$clients = array();
		foreach ( array_slice( array_filter( $words, 'strlen' ), 0, 500 ) as $word ) {
			for ( $at = 0; false !== ( $at = strpos( $text, $word, $at ) ) && count( $lines ) < 1000; $at = $end ) {
				$start           = (int) strrpos( $text, "\n", $at - strlen( $text ) ) + 1;
				$end             = strpos( $text, "\n", $at );
				$end             = false === $end ? strlen( $text ) : $end;
				$end             = max( $end, $at + 1 );
				$lines[ $start ] = substr( $text, $start, $end - $start );
				$clients[ (string) strtok( $lines[ $start ], ' ' ) ] = true;
			}
		}
		foreach ( array_slice( array_keys( $clients ), 0, 20 ) as $client ) {
			for ( $at = 0, $count = 0; $count < 20 && false !== ( $at = strpos( $text, "\n" . $client . ' ', $at ) ); $at = $end ) {
				$end = strpos( $text, "\n", $at + 1 );
				$end = false === $end ? strlen( $text ) : $end;
				if ( ! isset( $lines[ $at + 1 ] ) ) {
					$lines[ $at + 1 ] = substr( $text, $at + 1, $end - $at - 1 );
					$count++;
				}
			}
		}
		ksort( $lines );
		return implode( "\n", $lines );
	}

	/* ---- the kernel's log, and commands ------------------------------------------------------ */

	public static function kernel( $since ) {
		$seconds = sprintf( '@%d', (int) $since );
		$uptime  = (float) Wpaudit_Host::small( '/proc/uptime' );
		return array(
			'booted'  => $uptime ? microtime( true ) - $uptime : 0,
			'time'    => microtime( true ),
			'dmesg'   => self::command( array( 'dmesg' ) ),
			'journal' => self::command( array( 'journalctl', '-k', '-q', '--no-pager', '-o', 'short-unix', '--since', $seconds ) ),
		);
	}

	private static function command( $words ) {
		$done = self::run( $words, 4 );
		return array( 'status' => $done['status'], 'out' => base64_encode( $done['out'] ), 'err' => Wpaudit_Agent::text( substr( $done['err'], 0, 300 ) ) );
	}

	/* Run one of our own commands; status 127 when there is none, -1 when it cannot be run or does not end. */
	public static function run( $words, $seconds ) {
		$done = array( 'status' => -1, 'out' => '', 'err' => 'proc_open is switched off' );
		if ( ! function_exists( 'proc_open' ) ) {
			return $done;
		}
		$quoted  = 'exec ' . implode( ' ', array_map( 'escapeshellarg', $words ) );
		$pipes   = array();
		$process = @proc_open( $quoted, array( array( 'file', '/dev/null', 'r' ), array( 'pipe', 'w' ), array( 'pipe', 'w' ) ), $pipes );
		if ( ! is_resource( $process ) ) {
			return array( 'err' => 'no process can be started' ) + $done;
		}
		$texts  = self::drain( array( 1 => $pipes[1], 2 => $pipes[2] ), microtime( true ) + $seconds, self::OUTPUT );
		$ended  = Wpaudit_Child::ended( $process );
		$status = $ended['signal'] ? -1 : $ended['status'];
		return array( 'status' => $status, 'out' => $texts[1], 'err' => $texts[2] );
	}

	/* Read several pipes to their ends or until the deadline; keeps the LAST bytes of each. */
	private static function drain( $pipes, $deadline, $most ) {
		$texts = array_fill_keys( array_keys( $pipes ), '' );
		foreach ( $pipes as $pipe ) {
			stream_set_blocking( $pipe, false );
		}
		while ( $pipes && microtime( true ) < $deadline ) {
			$read = $pipes;
			$none = null;
			if ( @stream_select( $read, $none, $none, 0, 200000 ) ) {
				foreach ( $read as $key => $pipe ) {
					$texts[ $key ] = substr( $texts[ $key ] . fread( $pipe, 65536 ), -$most );
					if ( feof( $pipe ) ) {
						unset( $pipes[ $key ] );
					}
				}
			}
		}
		return $texts;
	}
}
