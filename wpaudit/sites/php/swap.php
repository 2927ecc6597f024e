<?php
/*
 * Swapping one file for another text and back, so that nobody ever sees half of either.
 *
 * prepare(): a hard link keeps the original inode, a second file beside it holds the new text; the file itself is not
 * touched. commit(): rename() puts the new one in its place. back(): rename() puts the link back, so that inode, mode,
 * owner and times are what they were. The record that prepare() returns is to be journalled before commit(): it is all
 * that back() needs, whenever the process ended. Whoever changed the file in between keeps what they wrote.
 */

final class Wpaudit_Swap {
	const BIGGEST = 10000000;

	/* What a file is: enough to know it again. null when there is no plain file that can be read. */
	public static function look( $path ) {
		clearstatcache( true, $path );
		if ( is_link( $path ) || ! is_file( $path ) || ! is_readable( $path ) || filesize( $path ) > self::BIGGEST ) {
			return null;
		}
		$stat = @stat( $path );
		$sha  = @hash_file( 'sha256', $path );
		if ( ! $stat || ! $sha ) {
			return null;
		}
		return array(
			'device' => $stat['dev'], 'inode' => $stat['ino'], 'mode' => $stat['mode'] & 07777, 'user' => $stat['uid'],
			'group' => $stat['gid'], 'size' => $stat['size'], 'mtime' => $stat['mtime'], 'sha' => $sha,
		);
	}

	/*
	 * Keep the original under a second name and write the new text beside it. $sha is the digest of the text that the
	 * new one was made from; $places are directories for the second name, tried in order; $run is a random word.
	 */
	public static function prepare( $path, $text, $sha, $places, $run ) {
		$before = self::must_be_ours( $path, $sha );
		$new    = dirname( $path ) . '/.htaccess-wpaudit-' . $run . '~'; // .ht: Apache's own rule hides such names
		clearstatcache();
		if ( is_link( $new ) || file_exists( $new ) ) { // fopen() follows a link that leads nowhere, even with 'x'
			throw new Wpaudit_Refusal( 'no-write', "$new is in the way" );
		}
		$backup = self::linked( $path, $before, $places, $run );
		try {
			self::write( $new, $text, $before );
			$after = self::look( $new );
			if ( ! $after || hash( 'sha256', $text ) !== $after['sha'] ) {
				throw new Wpaudit_Refusal( 'no-write', "cannot read back $new" );
			}
		} catch ( Throwable $error ) {
			@unlink( $new );
			@unlink( $backup );
			throw $error;
		}
		return array(
			'path' => base64_encode( $path ), 'new' => base64_encode( $new ), 'backup' => base64_encode( $backup ),
			'before' => $before, 'after' => $after,
		);
	}

	private static function must_be_ours( $path, $sha ) {
		$before = self::look( $path );
		if ( ! $before ) {
			throw new Wpaudit_Refusal( 'no-file', "$path is a link, too large, or cannot be read" );
		}
		if ( $before['sha'] !== $sha ) {
			throw new Wpaudit_Refusal( 'foreign', "$path is not what it was when it was read" );
		}
		$user = function_exists( 'posix_geteuid' ) ? posix_geteuid() : getmyuid();
		if ( 0 !== $user && $before['user'] !== $user ) {
			throw new Wpaudit_Refusal( 'not-owner', "$path belongs to another user, and a file in its place would not" );
		}
		return $before;
	}

	/* Only a name on the same file system can keep the inode; link() says so itself. */
	private static function linked( $path, $before, $places, $run ) {
		foreach ( array_merge( $places, array( dirname( $path ) ) ) as $place ) {
			$backup = $place . '/.htaccess-wpaudit-' . $run;
			if ( @link( $path, $backup ) ) {
				$kept = self::look( $backup );
				if ( $kept && self::same( $kept, $before ) ) {
					return $backup;
				}
				@unlink( $backup );
			}
		}
		throw new Wpaudit_Refusal( 'no-write', "no second name can be made for $path" );
	}

	/* 'x' is O_EXCL: a file that is there already is not written to. */
	private static function write( $new, $text, $like ) {
		$handle = @fopen( $new, 'xb' );
		if ( ! $handle ) {
			throw new Wpaudit_Refusal( 'no-write', "cannot create $new" );
		}
		$done = @chmod( $new, 0600 );
		$at   = 0;
		while ( $done && $at < strlen( $text ) ) {
			$count = @fwrite( $handle, substr( $text, $at ) );
			$done  = false !== $count && $count > 0;
			$at   += (int) $count;
		}
		$done = $done && fflush( $handle ) && ( ! function_exists( 'fsync' ) || @fsync( $handle ) );
		$done = fclose( $handle ) && $done;
		$stat = $done ? stat( $new ) : null;
		if ( $done && $stat['uid'] !== $like['user'] ) {
			$done = @chown( $new, $like['user'] );
		}
		if ( $done && $stat['gid'] !== $like['group'] ) {
			$done = @chgrp( $new, $like['group'] );
		}
		if ( ! $done || ! @chmod( $new, $like['mode'] ) ) { // last: chown() takes special bits away
			throw new Wpaudit_Refusal( 'no-write', "cannot write $new with the owner and mode of the original" );
		}
	}

	/* Put the new text in the file's place. */
	public static function commit( $record ) {
		list( $path, $new, $backup ) = self::names( $record );
		$now = self::look( $path );
		if ( ! $now || ! self::same( $now, $record['before'] ) ) {
			throw new Wpaudit_Refusal( 'foreign', "somebody else changed $path meanwhile" );
		}
		$made = self::look( $new );
		$kept = self::look( $backup );
		if ( ! $made || ! self::same( $made, $record['after'] ) || ! $kept || ! self::same( $kept, $record['before'] ) ) {
			throw new Wpaudit_Refusal( 'foreign', "the files beside $path are not those of this run" );
		}
		if ( ! @rename( $new, $path ) ) {
			throw new Wpaudit_Refusal( 'no-write', "cannot replace $path" );
		}
		$kept = self::look( $backup );
		if ( ! $kept || ! self::same( $kept, $record['before'] ) ) { // written to in the last moment, under its old name
			self::back( $record );
			throw new Wpaudit_Refusal( 'foreign', "somebody else changed $path meanwhile" );
		}
		return array( 'inode' => $record['after']['inode'] );
	}

	/*
	 * Put the original back, wherever prepare() and commit() got to. Idempotent. `verified` only when the file is now
	 * byte for byte and inode for inode what it was; `foreign` when somebody else's file is in its place, which stays;
	 * `written` when somebody wrote to the original while it was away: it is back with what they wrote.
	 */
	public static function back( $record ) {
		list( $path, $new, $backup ) = self::names( $record );
		$now     = self::look( $path );
		$kept    = self::look( $backup );
		$foreign = true;
		if ( $now && self::inode( $now, $record['before'] ) ) {
			$foreign = false; // never replaced, or back already
			if ( $kept && self::inode( $kept, $record['before'] ) ) {
				@unlink( $backup ); // rename() does nothing between two names of one file
			}
		} elseif ( $now && self::same( $now, $record['after'] ) && $kept && self::inode( $kept, $record['before'] ) ) {
			$foreign = ! @rename( $backup, $path );
		}
		if ( ! $foreign ) {
			$made = self::look( $new );
			if ( $made && self::inode( $made, $record['after'] ) ) {
				@unlink( $new );
			}
		}
		$now  = self::look( $path );
		$same = $now && self::same( $now, $record['before'] );
		return array(
			'verified' => ! $foreign && $same && $now['mtime'] === $record['before']['mtime'],
			'foreign'  => $foreign,
			'written'  => ! $foreign && ! $same,
			'left'     => array_values( array_map( 'base64_encode', array_filter( array( $new, $backup ), 'file_exists' ) ) ),
		);
	}

	private static function names( $record ) {
		return array( base64_decode( $record['path'] ), base64_decode( $record['new'] ), base64_decode( $record['backup'] ) );
	}

	private static function inode( $one, $other ) {
		return $one['inode'] === $other['inode'] && $one['device'] === $other['device'];
	}

	private static function same( $one, $other ) {
		foreach ( array( 'device', 'inode', 'mode', 'user', 'group', 'size', 'sha' ) as $key ) {
			if ( $one[ $key ] !== $other[ $key ] ) {
				return false;
			}
		}
		return true;
	}

	/* ---- canary ----------------------------------------------------------------------------- */

	/*
	 * A directory of ours below the docroot, with the new text as its .htaccess and one page: whoever asks for the page
	 * and gets 500 knows that Apache would refuse the text, and nobody else has met it.
	 */
	public static function canary( $docroot, $text, $run ) {
		$dir = $docroot . '/wpaudit-canary-' . $run;
		if ( ! @mkdir( $dir, 0755 ) || ! chmod( $dir, 0755 ) ) {
			throw new Wpaudit_Refusal( 'no-write', "cannot create $dir" );
		}
		foreach ( array( '/.htaccess' => $text, '/canary.txt' => "wpaudit\n" ) as $name => $content ) {
			if ( strlen( $content ) !== @file_put_contents( $dir . $name, $content ) || ! @chmod( $dir . $name, 0644 ) ) {
				self::remove_canary( $docroot, $run );
				throw new Wpaudit_Refusal( 'no-write', "cannot write $dir$name" );
			}
		}
		return array( 'dir' => base64_encode( $dir ), 'page' => 'wpaudit-canary-' . $run . '/canary.txt' );
	}

	/* Idempotent; true when nothing is left. */
	public static function remove_canary( $docroot, $run ) {
		$dir = $docroot . '/wpaudit-canary-' . $run;
		if ( ! is_link( $dir ) && is_dir( $dir ) ) {
			@unlink( $dir . '/.htaccess' );
			@unlink( $dir . '/canary.txt' );
			@rmdir( $dir );
		}
		clearstatcache();
		return ! file_exists( $dir );
	}
}
