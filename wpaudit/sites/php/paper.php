<?php
/*
 * Stands before every file that PHP opens: reading goes through, writing stays in memory, where this process finds it again.
 * Directories made, names changed and files removed are remembered, not done.
 */
final class Wpaudit_Paper {
	public $context;

	private static $kept = array(); // path => stream of what was written, 'dir', or false when it was removed

	private $handle = null;
	private $names  = null;

	public static function cover() {
		stream_wrapper_unregister( 'file' );
		stream_wrapper_register( 'file', __CLASS__ );
	}

	private static function real( $call ) {
		stream_wrapper_restore( 'file' );
		try {
			return $call();
		} finally {
			self::cover();
		}
	}

	private static function path( $path ) {
		$path = 0 === strpos( $path, 'file://' ) ? substr( $path, 7 ) : $path;
		$path = '/' === substr( $path, 0, 1 ) ? $path : getcwd() . '/' . $path;
		return rtrim( preg_replace( '~/(?:\./|/)+~', '/', $path ), '/' );
	}

	private static function copied( $path ) {
		$copy = fopen( 'php://temp', 'w+b' );
		if ( isset( self::$kept[ $path ] ) && is_resource( self::$kept[ $path ] ) ) {
			rewind( self::$kept[ $path ] );
			stream_copy_to_stream( self::$kept[ $path ], $copy );
		} elseif ( ! array_key_exists( $path, self::$kept ) ) {
			$from = self::real( function () use ( $path ) {
				return @fopen( $path, 'rb' );
			} );
			if ( $from ) {
				stream_copy_to_stream( $from, $copy );
				fclose( $from );
			}
		}
		rewind( $copy );
		return $copy;
	}

	private static function exists( $path ) {
		if ( array_key_exists( $path, self::$kept ) ) {
			return false !== self::$kept[ $path ];
		}
		return self::real( function () use ( $path ) {
			return file_exists( $path );
		} );
	}

	public function stream_open( $name, $mode, $options, &$opened ) {
		$path  = self::path( $name );
		$loud  = $options & STREAM_REPORT_ERRORS;
		$reads = preg_match( '/^r[bt]?$/', $mode );
		if ( $reads && ! array_key_exists( $path, self::$kept ) ) {
			$include      = (bool) ( $options & STREAM_USE_PATH );
			$this->handle = self::real( function () use ( $name, $mode, $include, $loud ) {
				return $loud ? fopen( $name, $mode, $include ) : @fopen( $name, $mode, $include );
			} );
			return (bool) $this->handle;
		}
		$there = self::exists( $path );
		if ( ( 'r' === $mode[0] && ! $there ) || ( 'x' === $mode[0] && $there ) || ( ! $there && ! self::exists( dirname( $path ) ) ) ) {
			$loud && trigger_error( "fopen($name): Failed to open stream", E_USER_WARNING );
			return false;
		}
		if ( $reads ) {
			$this->handle = self::copied( $path );
			return true;
		}
		if ( 'w' === $mode[0] || ! $there ) {
			self::$kept[ $path ] = fopen( 'php://temp', 'w+b' );
		} elseif ( ! isset( self::$kept[ $path ] ) || ! is_resource( self::$kept[ $path ] ) ) {
			self::$kept[ $path ] = self::copied( $path );
		}
		$this->handle = self::$kept[ $path ];
		fseek( $this->handle, 0, 'a' === $mode[0] ? SEEK_END : SEEK_SET );
		return true;
	}

	public function stream_read( $count ) {
		return fread( $this->handle, $count );
	}

	public function stream_write( $data ) {
		return fwrite( $this->handle, $data );
	}

	public function stream_eof() {
		return feof( $this->handle );
	}

	public function stream_tell() {
		return ftell( $this->handle );
	}

	public function stream_seek( $offset, $whence = SEEK_SET ) {
		return 0 === fseek( $this->handle, $offset, $whence );
	}

	public function stream_flush() {
		return true;
	}

	public function stream_close() {
		if ( $this->handle && ! in_array( $this->handle, self::$kept, true ) ) {
			fclose( $this->handle );
		}
	}

	public function stream_stat() {
		return fstat( $this->handle );
	}

	public function stream_lock( $operation ) {
		return true; // nobody else sees what is written here
	}

	public function stream_truncate( $size ) {
		return ftruncate( $this->handle, $size );
	}

	public function stream_set_option( $option, $first, $second ) {
		return false;
	}

	public function stream_cast( $as ) {
		return $this->handle;
	}

	public function stream_metadata( $name, $option, $value ) {
		$path = self::path( $name );
		if ( STREAM_META_TOUCH === $option && ! self::exists( $path ) ) {
			self::$kept[ $path ] = fopen( 'php://temp', 'w+b' );
		}
		return true;
	}

	public function unlink( $name ) {
		$path = self::path( $name );
		if ( ! self::exists( $path ) ) {
			return false;
		}
		self::$kept[ $path ] = false;
		return true;
	}

	public function rename( $from, $to ) {
		$from = self::path( $from );
		if ( ! self::exists( $from ) ) {
			return false;
		}
		$is_dir = ! isset( self::$kept[ $from ] ) ? self::real( function () use ( $from ) {
			return is_dir( $from );
		} ) : 'dir' === self::$kept[ $from ];
		self::$kept[ self::path( $to ) ] = $is_dir ? 'dir' : self::copied( $from );
		self::$kept[ $from ]             = false;
		return true;
	}

	public function mkdir( $name, $mode, $options ) {
		$path = self::path( $name );
		if ( self::exists( $path ) ) {
			return false;
		}
		do {
			self::$kept[ $path ] = 'dir';
			$path                = dirname( $path );
		} while ( ( $options & STREAM_MKDIR_RECURSIVE ) && '/' !== $path && ! self::exists( $path ) );
		return true;
	}

	public function rmdir( $name, $options ) {
		self::$kept[ self::path( $name ) ] = false;
		return true;
	}

	public function url_stat( $name, $flags ) {
		$path = self::path( $name );
		if ( isset( self::$kept[ $path ] ) || array_key_exists( $path, self::$kept ) ) {
			$kept = self::$kept[ $path ];
			if ( false === $kept ) {
				return false;
			}
			$stat         = is_resource( $kept ) ? fstat( $kept ) : array_fill_keys( array( 'dev', 'ino', 'mode', 'nlink', 'uid', 'gid', 'rdev', 'size', 'atime', 'mtime', 'ctime', 'blksize', 'blocks' ), 0 );
			$stat['mode'] = is_resource( $kept ) ? 0100644 : 040755;
			$stat['uid']  = function_exists( 'posix_geteuid' ) ? posix_geteuid() : 0;
			$stat['mtime'] = time();
			return $stat;
		}
		return self::real( function () use ( $name, $flags ) {
			if ( $flags & STREAM_URL_STAT_QUIET && ! @file_exists( $name ) && ! @is_link( $name ) ) {
				return false;
			}
			return $flags & STREAM_URL_STAT_LINK ? @lstat( $name ) : @stat( $name );
		} );
	}

	public function dir_opendir( $name, $options ) {
		$path  = self::path( $name );
		$names = self::real( function () use ( $name ) {
			return @scandir( $name );
		} );
		if ( ! is_array( $names ) && ! self::exists( $path ) ) {
			return false;
		}
		$names = array_fill_keys( is_array( $names ) ? $names : array( '.', '..' ), true );
		foreach ( self::$kept as $kept => $what ) {
			if ( dirname( $kept ) === $path ) {
				$names[ basename( $kept ) ] = false !== $what;
			}
		}
		$this->names = array_map( 'strval', array_keys( array_filter( $names ) ) );
		return true;
	}

	public function dir_readdir() {
		$name = current( $this->names );
		next( $this->names );
		return $name;
	}

	public function dir_rewinddir() {
		reset( $this->names );
		return true;
	}

	public function dir_closedir() {
		$this->names = null;
		return true;
	}
}
