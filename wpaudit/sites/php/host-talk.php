<?php
/* The view from the host: requests to the web server and to php-fpm, and whether sockets answer. Bounded, read only. */

final class Wpaudit_Talk {
	const KEPT = 327680;   // bytes of an answer that are sent on
	const READ = 16777216; // bytes of an answer that are read at all
	const ALL  = 15;       // seconds after which no further socket or name is tried

	/* What a failed connect() means: the words of facts.Pool.socket, and those of domain.Answer.error. */
	private static function word( $number, $sentence ) {
		$words = array( 2 => 'missing', 11 => 'full', 13 => 'denied', 101 => 'unreachable', 104 => 'reset', 110 => 'timeout', 111 => 'refused', 113 => 'unreachable' );
		if ( isset( $words[ $number ] ) ) {
			return $words[ $number ];
		}
		return preg_match( '/getaddrinfo|php_network_getaddresses|resolve/i', $sentence ) ? 'dns' : 'timeout';
	}

	/* Open a connection; returns array( stream or null, word, sentence, seconds ). */
	private static function connect( $address, $seconds, $context = array() ) {
		$number   = 0;
		$sentence = '';
		$started  = microtime( true );
		$problems = array();
		set_error_handler( function ( $level, $message ) use ( &$problems ) {
			$problems[] = $message;
			return true;
		} );
		$stream = stream_socket_client( $address, $number, $sentence, max( 0.05, $seconds ), STREAM_CLIENT_CONNECT, stream_context_create( $context ) );
		restore_error_handler();
		$took = microtime( true ) - $started;
		if ( $stream ) {
			return array( $stream, '', '', $took );
		}
		$all  = implode( ' ', $problems );
		$tls  = preg_match( '~SSL|certificate|crypto|peer~i', $all ) && ! $number;
		$text = trim( preg_replace( '~stream_socket_client\(\)?:?\s*~', '', $all ) );
		$text = '' === $text ? $sentence : $text;
		$word = $tls && $took < $seconds ? 'tls' : self::word( $number, $all . $sentence );
		return array( null, $word, $number ? "connect() to $address failed ($number: $sentence)" : substr( $text, 0, 500 ), $took );
	}

	/* Whether somebody answers at these addresses, and how long the queue of each is (ss, /proc/net/tcp). */
	public static function sockets( $sockets ) {
		$said     = array();
		$deadline = microtime( true ) + self::ALL;
		foreach ( array_slice( $sockets, 0, 50 ) as $socket ) {
			if ( microtime( true ) > $deadline ) {
				break;
			}
			$address               = base64_decode( $socket['address'] );
			list( $stream, $word ) = self::connect( $address, 2 );
			$status                = '';
			if ( $stream ) {
				fclose( $stream );
				if ( '' !== $socket['status'] ) {
					$status = self::pool_status( $address, base64_decode( $socket['status'] ) );
				}
			}
			$said[] = array( 'address' => $socket['address'], 'word' => $stream ? 'answers' : $word, 'status' => Wpaudit_Agent::text( $status ) );
		}
		$tcp = '';
		foreach ( array( '/proc/net/tcp', '/proc/net/tcp6' ) as $path ) {
			$tcp .= (string) @file_get_contents( $path, false, null, 0, 262144 );
		}
		$unix = Wpaudit_Logs::run( array( 'ss', '-xlnH' ), 3 );
		$ss   = Wpaudit_Logs::run( array( 'ss', '-tlnH' ), 3 );
		return array( 'sockets' => $said, 'unix' => base64_encode( $unix['out'] ), 'ss' => base64_encode( $ss['out'] ), 'tcp' => base64_encode( $tcp ) );
	}

	/* php-fpm's own page about a pool (pm.status_path). */
	private static function pool_status( $address, $path ) {
		$params = array( 'SCRIPT_NAME' => $path, 'SCRIPT_FILENAME' => $path, 'REQUEST_URI' => $path, 'REQUEST_METHOD' => 'GET', 'QUERY_STRING' => 'json', 'SERVER_PROTOCOL' => 'HTTP/1.1' );
		$answer = self::records( $address, $params, 2 );
		return substr( (string) strstr( base64_decode( $answer['raw'] ), '{' ), 0, 2000 );
	}

	/* What names mean here, and whether their ports accept: '' or a sentence. */
	public static function names( $names ) {
		$said     = array();
		$deadline = microtime( true ) + self::ALL;
		foreach ( array_slice( $names, 0, 20 ) as $name ) {
			if ( microtime( true ) > $deadline ) {
				break; // a resolver that does not answer takes its time for every name
			}
			$host  = base64_decode( $name['host'] );
			$found = filter_var( trim( $host, '[]' ), FILTER_VALIDATE_IP ) ? array( $host ) : (array) @gethostbynamel( $host );
			if ( ! array_filter( $found ) && function_exists( 'dns_get_record' ) ) {
				$found = array_map( function ( $row ) {
					return '[' . $row['ipv6'] . ']';
				}, (array) @dns_get_record( $host, DNS_AAAA ) );
			}
			$found = array_filter( $found );
			if ( ! $found ) {
				$said[] = array( 'word' => 'dns', 'detail' => '' );
				continue;
			}
			list( $stream, $word, $detail ) = self::connect( 'tcp://' . reset( $found ) . ':' . (int) $name['port'], 2 );
			if ( $stream ) {
				fclose( $stream );
			}
			$said[] = array( 'word' => $word, 'detail' => Wpaudit_Agent::text( $detail ) );
		}
		return array( 'names' => $said );
	}

	/* ---- HTTP -------------------------------------------------------------------------------- */

	/* Send bytes and keep what comes back; TLS with the given name, its certificate checked when asked. */
	public static function send( $request ) {
		$deadline = microtime( true ) + (float) $request['timeout'];
		$tls      = '' !== $request['tls'];
		if ( $tls && ! in_array( 'ssl', stream_get_transports(), true ) ) {
			throw new Wpaudit_Refusal( 'no-tls', 'PHP of the command line has no OpenSSL' );
		}
		$name    = $tls ? base64_decode( $request['tls'] ) : '';
		$options = array( 'ssl' => array( 'peer_name' => $name, 'SNI_enabled' => true, 'verify_peer' => $request['verify'], 'verify_peer_name' => $request['verify'] ) );
		$started = microtime( true );
		list( $stream, $word, $detail ) = self::connect( ( $tls ? 'ssl://' : 'tcp://' ) . base64_decode( $request['address'] ), (float) $request['timeout'], $options );
		$answer = array( 'at' => $started, 'raw' => '', 'size' => 0, 'tail' => '', 'eof' => false, 'error' => $word, 'detail' => Wpaudit_Agent::text( $detail ), 'peer' => '' );
		if ( $stream ) {
			$peer   = (string) @stream_socket_get_name( $stream, true );
			$answer = array( 'peer' => Wpaudit_Agent::text( $peer ) ) + self::exchange( $stream, base64_decode( $request['data'] ), $deadline, true ) + $answer;
			fclose( $stream );
		}
		return array( 'seconds' => microtime( true ) - $started ) + $answer;
	}

	private static function exchange( $stream, $data, $deadline, $http ) {
		stream_set_blocking( $stream, false );
		$raw   = '';
		$size  = 0;
		$tail  = '';
		$error = '';
		$end   = -1; // of the answer, where its head says so
		while ( $size < self::READ ) {
			$read  = array( $stream );
			$write = '' === $data ? null : array( $stream );
			$none  = null;
			$left  = $deadline - microtime( true );
			if ( $left <= 0 ) {
				$error = 'timeout';
				break;
			}
			if ( ! @stream_select( $read, $write, $none, (int) $left, (int) ( fmod( $left, 1 ) * 1e6 ) ) ) {
				continue;
			}
			if ( $write ) {
				$sent = @fwrite( $stream, $data );
				if ( false === $sent || ( 0 === $sent && feof( $stream ) ) ) {
					$data = ''; // what was answered before says more
				} else {
					$data = (string) substr( $data, $sent );
				}
			}
			$chunk = $read ? @fread( $stream, 65536 ) : '';
			if ( '' !== $chunk && false !== $chunk ) {
				$size += strlen( $chunk );
				$raw  .= strlen( $raw ) < self::KEPT ? substr( $chunk, 0, self::KEPT - strlen( $raw ) ) : '';
				$tail  = substr( $tail . $chunk, -16 );
				$end   = $http && $end < 0 ? self::end_of( $raw ) : $end;
			}
			if ( ( $end > 0 && $size >= $end ) || ( PHP_INT_MAX - 1 === $end && "0\r\n\r\n" === substr( $tail, -5 ) ) ) {
				break;
			}
			if ( $read && feof( $stream ) ) {
				break;
			}
		}
		$error = '' === $error && $size >= self::READ ? 'too-large' : $error;
		return array( 'raw' => base64_encode( $raw ), 'size' => $size, 'tail' => base64_encode( $tail ), 'eof' => feof( $stream ), 'error' => $error );
	}

	/* Where an answer ends: -1 not known yet, 0 at the end of the connection, PHP_INT_MAX - 1 chunked. */
	private static function end_of( $raw ) {
		$head = strpos( $raw, "\r\n\r\n" );
		if ( false === $head ) {
			return -1;
		}
		$fields = substr( $raw, 0, $head );
		if ( preg_match( '~^HTTP/\S+ (?:204|304)~', $fields ) ) {
			return $head + 4;
		}
		if ( preg_match( '/^transfer-encoding:[^\r\n]*chunked/mi', $fields ) ) {
			return PHP_INT_MAX - 1;
		}
		return preg_match( '/^content-length:[ \t]*(\d{1,15})/mi', $fields, $match ) ? $head + 4 + (int) $match[1] : 0;
	}

	/* ---- FastCGI ----------------------------------------------------------------------------- */

	public static function fastcgi( $request ) {
		$params = array();
		foreach ( $request['params'] as $pair ) {
			$params[ base64_decode( $pair[0] ) ] = base64_decode( $pair[1] );
		}
		return self::records( base64_decode( $request['address'] ), $params, (float) $request['timeout'] );
	}

	/* One request to a responder, FastCGI 1.0: begin, params, empty stdin; stdout, stderr and end come back. */
	public static function records( $address, $params, $seconds ) {
		$started  = microtime( true );
		$deadline = $started + $seconds;
		list( $stream, $word, $detail ) = self::connect( $address, $seconds );
		$answer = array( 'at' => $started, 'raw' => '', 'size' => 0, 'stderr' => '', 'ended' => false, 'status' => 0, 'error' => $word, 'detail' => Wpaudit_Agent::text( $detail ) );
		if ( $stream ) {
			$data = self::record( 1, pack( 'nCx5', 1, 0 ) );
			foreach ( str_split( self::pairs( $params ), 65528 ) as $part ) {
				$data .= self::record( 4, $part );
			}
			$reading = new Wpaudit_Records( self::KEPT );
			$error   = self::converse( $stream, $data . self::record( 4, '' ) . self::record( 5, '' ), $deadline, $reading );
			fclose( $stream );
			$answer = $reading->said() + array( 'error' => $error ) + $answer;
		}
		return array( 'seconds' => microtime( true ) - $started ) + $answer;
	}

	private static function converse( $stream, $data, $deadline, $reading ) {
		stream_set_blocking( $stream, false );
		while ( ! $reading->ended ) {
			$read  = array( $stream );
			$write = '' === $data ? null : array( $stream );
			$none  = null;
			$left  = $deadline - microtime( true );
			if ( $left <= 0 ) {
				return 'timeout';
			}
			if ( ! @stream_select( $read, $write, $none, (int) $left, (int) ( fmod( $left, 1 ) * 1e6 ) ) ) {
				continue;
			}
			if ( $write ) {
				$sent = @fwrite( $stream, $data );
				$data = $sent ? (string) substr( $data, $sent ) : ( feof( $stream ) ? '' : $data );
			}
			if ( $read ) {
				$chunk = @fread( $stream, 65536 );
				$reading->add( (string) $chunk );
				if ( $reading->broken ) {
					return 'protocol';
				}
				if ( ( '' === $chunk || false === $chunk ) && feof( $stream ) ) {
					$reading->finish();
					return 'reset'; // the worker went away without saying that it was done
				}
				if ( $reading->size > self::READ ) {
					return 'too-large';
				}
			}
		}
		return '';
	}

	private static function record( $type, $content ) {
		return pack( 'CCnnCx', 1, $type, 1, strlen( $content ), 0 ) . $content;
	}

	private static function pairs( $params ) {
		$data = '';
		foreach ( $params as $name => $value ) {
			$data .= self::length( $name ) . self::length( $value ) . $name . $value;
		}
		return '' === $data ? "\0\0" : $data;
	}

	private static function length( $text ) {
		return strlen( $text ) < 128 ? chr( strlen( $text ) ) : pack( 'N', strlen( $text ) | 0x80000000 );
	}
}

/* What a FastCGI server sends, put together from records that arrive in any pieces. */
final class Wpaudit_Records {
	public $size   = 0;
	public $ended  = false;
	public $broken = false;

	private $most;
	private $buffer = '';
	private $out    = '';
	private $errors = '';
	private $status = 0;

	public function __construct( $most ) {
		$this->most = $most;
	}

	public function add( $data ) {
		$this->buffer .= $data;
		while ( ! $this->ended && strlen( $this->buffer ) >= 8 ) {
			$head = unpack( 'Cversion/Ctype/nid/nlength/Cpadding', $this->buffer );
			if ( 1 !== $head['version'] ) {
				$this->broken = true;
				return;
			}
			$whole = 8 + $head['length'] + $head['padding'];
			if ( strlen( $this->buffer ) < $whole ) {
				return;
			}
			$this->take( $head['type'], substr( $this->buffer, 8, $head['length'] ) );
			$this->buffer = (string) substr( $this->buffer, $whole );
		}
	}

	/* What came of the record that was under way. */
	public function finish() {
		if ( strlen( $this->buffer ) > 8 ) {
			$head = unpack( 'Cversion/Ctype/nid/nlength', $this->buffer );
			$this->take( 6 === $head['type'] ? 6 : 0, substr( $this->buffer, 8, $head['length'] ) );
		}
	}

	private function take( $type, $content ) {
		if ( 6 === $type ) {
			$this->size += strlen( $content );
			$this->out  .= substr( $content, 0, max( 0, $this->most - strlen( $this->out ) ) );
		} elseif ( 7 === $type ) {
			$this->errors .= substr( $content, 0, max( 0, 8192 - strlen( $this->errors ) ) );
		} elseif ( 3 === $type ) {
			$this->ended  = true;
			$end          = strlen( $content ) >= 5 ? unpack( 'Nstatus/Cprotocol', $content ) : array( 'status' => 0 );
			$this->status = $end['status'];
		}
	}

	public function said() {
		return array(
			'raw' => base64_encode( $this->out ), 'size' => $this->size, 'stderr' => Wpaudit_Agent::text( $this->errors ),
			'ended' => $this->ended, 'status' => $this->status,
		);
	}
}
