<?php
/* The view from the host: WordPress's front controller in a PHP of its own, which may crash without taking us along. */

final class Wpaudit_Child {
	const KEPT  = 262144; // bytes of its output that are sent on
	const GRACE = 2.0;    // seconds for its end after its last word

	/* Run the program on stdin; `settings` become options, and what it says on descriptor 3 comes back line by line. */
	public static function inside( $request ) {
		foreach ( array( 'proc_open', 'proc_get_status', 'proc_terminate' ) as $needed ) {
			if ( ! function_exists( $needed ) ) {
				throw new Wpaudit_Refusal( 'no-child', "$needed is switched off in PHP of the command line (disable_functions)" );
			}
		}
		$binary = '' !== PHP_BINARY && is_executable( PHP_BINARY ) ? PHP_BINARY : '';
		if ( '' === $binary ) {
			throw new Wpaudit_Refusal( 'no-child', 'PHP of the command line does not know its own file' );
		}
		$words = array( $binary );
		foreach ( $request['settings'] as $name => $value ) {
			$words[] = '-d';
			$words[] = $name . '=' . $value;
		}
		$started = microtime( true );
		$pipes   = array();
		$process = @proc_open(
			'exec ' . implode( ' ', array_map( 'escapeshellarg', $words ) ),
			array( array( 'pipe', 'r' ), array( 'pipe', 'w' ), array( 'pipe', 'w' ), array( 'pipe', 'w' ) ),
			$pipes, base64_decode( $request['path'] ), self::environment()
		);
		if ( ! is_resource( $process ) ) {
			throw new Wpaudit_Refusal( 'no-child', 'no process can be started' );
		}
		$said  = self::talk( $pipes, base64_decode( $request['program'] ), $started + (float) $request['timeout'] );
		$ended = self::ended( $process, $said['late'] ? 0.0 : self::GRACE );
		return array(
			'at'      => $started,
			'seconds' => microtime( true ) - $started,
			'raw'     => base64_encode( $said['texts'][1] ),
			'size'    => $said['sizes'][1],
			'stderr'  => Wpaudit_Agent::text( substr( $said['texts'][2], -2000 ) ),
			'notes'   => array_map( array( 'Wpaudit_Agent', 'text' ), array_slice( explode( "\n", trim( $said['texts'][3] ) ), 0, 100 ) ),
			'late'    => $said['late'],
			'signal'  => $said['late'] ? 0 : $ended['signal'],
			'status'  => $ended['status'],
		);
	}

	/* Our own environment without what a login leaves in it. */
	private static function environment() {
		return array_filter(
			getenv(),
			function ( $name ) {
				return ! preg_match( '/^(?:SSH|SUDO|WP_CLI|XDG)_|^(?:OLDPWD|PWD|MAIL|SHLVL|_)$/', $name );
			},
			ARRAY_FILTER_USE_KEY
		);
	}

	private static function talk( $pipes, $program, $deadline ) {
		$texts = array( 1 => '', 2 => '', 3 => '' );
		$sizes = array( 1 => 0, 2 => 0, 3 => 0 );
		$open  = array( 1 => $pipes[1], 2 => $pipes[2], 3 => $pipes[3] );
		$in    = $pipes[0];
		foreach ( $pipes as $pipe ) {
			stream_set_blocking( $pipe, false );
		}
		while ( $open && microtime( true ) < $deadline ) {
			$read  = $open;
			$write = $in ? array( $in ) : null;
			$none  = null;
			if ( ! @stream_select( $read, $write, $none, 0, 200000 ) ) {
				continue;
			}
			if ( $write ) {
				$sent    = @fwrite( $in, $program );
				$program = (string) substr( $program, (int) $sent );
				if ( false === $sent || '' === $program ) {
					fclose( $in );
					$in = null;
				}
			}
			foreach ( $read as $key => $pipe ) {
				$chunk          = (string) fread( $pipe, 65536 );
				$sizes[ $key ] += strlen( $chunk );
				$texts[ $key ]  = 2 === $key ? substr( $texts[2] . $chunk, -8192 ) : $texts[ $key ] . substr( $chunk, 0, max( 0, self::KEPT - strlen( $texts[ $key ] ) ) );
				if ( '' === $chunk && feof( $pipe ) ) {
					unset( $open[ $key ] );
				}
			}
		}
		foreach ( $pipes as $pipe ) {
			is_resource( $pipe ) && fclose( $pipe );
		}
		return array( 'texts' => $texts, 'sizes' => $sizes, 'late' => (bool) $open );
	}

	/* How a process of ours ended; one that does not within so many seconds is killed. */
	public static function ended( $process, $grace = self::GRACE ) {
		$deadline = microtime( true ) + $grace;
		do {
			$status = proc_get_status( $process );
			if ( $status && ! $status['running'] ) {
				proc_close( $process );
				return array( 'signal' => $status['signaled'] ? $status['termsig'] : 0, 'status' => $status['exitcode'] );
			}
			usleep( 5000 );
		} while ( microtime( true ) < $deadline );
		proc_terminate( $process, 9 );
		proc_close( $process );
		return array( 'signal' => 9, 'status' => -1 );
	}
}
