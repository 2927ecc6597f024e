<?php
/*
 * Which plugins does one plugin's code have to do with? Asked when a plugin fails only together with another one.
 *
 * What comes out are names that stand in its code and that another plugin's code defines, fires, hooks into, stores or asks
 * for: hints, which order the search. Code is read as text, by regular expressions, since PHP's tokenizer need not be there.
 * All of it is bounded in time, files and bytes: the main file of each plugin first, then what lies beside it, then
 * deeper, one file of each plugin in turn. Sent by the operation "extend". PHP 7.2 and newer.
 */

final class Wpaudit_Sources {
	const SECONDS  = 2.0;
	const SHARE    = 0.4;      // of the time, at most, for the plugin that is asked about
	const FILE     = 262144;   // bytes read of one file
	const BYTES    = 67108864; // ... and of all
	const ENTRIES  = 4000;     // of directories, for one plugin
	const NAMES    = 200000;   // kept of the plugin that is asked about
	const ROWS     = 400;
	const DEFINERS = 3;        // a name that more of the others have is nobody's
	const SKIPPED  = '/^(?:\.|node_modules$|tests?$|languages$)/';

	/* Whatever has to do with names: a declaration, or a call whose first arguments are texts. */
	const DECLARED = '/(?<![\w$\\\\>:])(?<with>(?:(?:use|public|protected|private|static|abstract|final)\s++)*+)(?<what>namespace|class|interface|trait|enum|function|const|extends|implements|new|instanceof)\s++&?(?<name>[\\\\A-Za-z_\x80-\xff][\w\\\\\x80-\xff]*+)/i';
	const CALLED   = '/(?<![\w$\\\\>:])\\\\?(?<what>define|defined|constant|class_exists|interface_exists|function_exists|do_action(?:_ref_array)?|apply_filters(?:_ref_array)?|add_action|add_filter|has_action|has_filter|did_action|did_filter|doing_action|doing_filter|remove_action|remove_filter|(?:add|update)_(?:site_|network_)?option|register_setting|set_(?:site_)?transient|is_plugin_active)\s*+\(\s*+[\'"](?<first>[^\'"$\n]{1,120}+)[\'"](?:\s*+,\s*+[\'"](?<second>[^\'"$\n]{1,120}+)[\'"])?/';
	const USED     = '/(?<![\w$\\\\>])\\\\?([A-Za-z_\x80-\xff][\w\\\\\x80-\xff]{2,119}+)::/';

	/* Options that WordPress itself has, and plugins write. */
	const CORE_OPTIONS = ' active_plugins admin_email blog_charset blog_public blogdescription blogname category_base cron date_format db_version default_role gmt_offset home page_for_posts page_on_front permalink_structure posts_per_page rewrite_rules show_on_front sidebars_widgets siteurl start_of_week stylesheet tag_base template time_format timezone_string upload_path users_can_register wplang ';

	private static $until = 0.0;
	private static $bytes = 0;
	private static $files = 0;
	private static $cut   = false;

	/*
	 * $request: "plugins" are the suspects, "plugin" the place in there of the one that is asked about, "file", "first" and
	 * "last" where in its code it failed. A row says: "plugin" has to do with it by the "name"; "how", see related(); "near":
	 * 2 the name stands where it failed, 1 in the same file, 0 elsewhere; "others": how many plugins have that name so.
	 */
	public static function mentions( $request ) {
		$began       = microtime( true );
		self::$bytes = 0;
		self::$files = 0;
		self::$cut   = false;
		$plugins     = array_map( 'base64_decode', $request['plugins'] );
		$number      = (int) $request['plugin'];
		$place       = array( base64_decode( $request['file'] ), (int) $request['first'], (int) $request['last'] );
		self::$until = $began + self::SECONDS * self::SHARE;
		$own         = self::own( $plugins, $number, $place );
		self::$until = $began + self::SECONDS;
		$rows        = self::others( $plugins, $number, $own );
		return array( 'rows' => $rows, 'files' => self::$files, 'cut' => self::$cut );
	}

	/* ---- the plugin that is asked about ------------------------------------------------------ */

	/* "said": name => how near to where it failed; and what the code does with names, see facts(). */
	private static function own( $plugins, $number, $place ) {
		$own   = array( 'said' => array() ) + self::facts( '' );
		$files = self::files( $plugins, $number );
		if ( 0 === validate_file( $place[0] ) && 0 === strpos( $place[0], dirname( $plugins[ $number ] ) . '/' ) ) {
			array_unshift( $files['ready'], WP_PLUGIN_DIR . '/' . $place[0] );
		}
		$seen = array();
		while ( null !== ( $path = self::next( $files ) ) && count( $own['said'] ) < self::NAMES ) {
			if ( isset( $seen[ $path ] ) ) {
				continue;
			}
			$seen[ $path ] = true;
			$text          = self::text( $path );
			$here          = WP_PLUGIN_DIR . '/' . $place[0] === $path;
			self::note( $own, self::bare( $text ), $here ? 1 : 0 );
			if ( $here && $place[1] > 0 ) {
				$lines = array_slice( explode( "\n", $text ), $place[1] - 1, max( 1, min( 2000, $place[2] - $place[1] + 1 ) ) );
				self::note( $own, self::bare( implode( "\n", $lines ) ), 2 );
			}
		}
		return $own;
	}

	private static function note( &$own, $text, $near ) {
		$words = self::all( '/[A-Za-z_\\\\\x80-\xff][\w\\\\\x80-\xff]{2,119}+/', $text );
		$texts = self::all( '/\'([^\'\n]{3,120}+)\'|"([^"$\n]{3,120}+)"/', $text );
		foreach ( array_merge( $words, $texts ) as $row ) {
			$name = self::name( end( $row ) );
			if ( ! isset( $own['said'][ $name ] ) || $own['said'][ $name ] < $near ) {
				$own['said'][ $name ] = $near;
			}
		}
		foreach ( self::facts( $text ) as $kind => $names ) {
			$own[ $kind ] += $names;
		}
	}

	/* ---- the others --------------------------------------------------------------------------- */

	private static function others( $plugins, $number, $own ) {
		$queues = array();
		$found  = array(); // "how name" => plugin => name as it is written there
		foreach ( array_keys( $plugins ) as $other ) {
			if ( $other === $number ) {
				continue;
			}
			$queues[ $other ] = self::files( $plugins, $other );
			if ( dirname( $plugins[ $other ] ) === dirname( $plugins[ $number ] ) ) {
				$queues[ $other ]['below'] = array(); // what lies there is the code of both
			}
			self::named( $found, $own['said'], $other, $plugins[ $other ] );
		}
		while ( $queues ) {
			foreach ( $queues as $other => $files ) {
				$path = self::next( $files );
				if ( null === $path ) {
					unset( $queues[ $other ] );
					continue;
				}
				$queues[ $other ] = $files;
				self::related( $found, $own, $other, self::facts( self::bare( self::text( $path ) ) ) );
			}
		}
		return self::rows( $found, $own['said'] );
	}

	/* Plugins that are spoken of by the name of their file, or of their directory if it is no mere word. */
	private static function named( &$found, $said, $other, $file ) {
		$slug = strlen( dirname( $file ) ) > 5 ? dirname( $file ) : '';
		foreach ( array( 'file' => $file, 'slug' => $slug ) as $how => $name ) {
			foreach ( array( $name, '/' . $name ) as $spelled ) {
				if ( '' !== $name && isset( $said[ strtolower( $spelled ) ] ) ) {
					$found[ $how . ' ' . strtolower( $spelled ) ][ $other ] = $name;
				}
			}
		}
	}

	/* What is asked about has a name that the other one "defines", "fires", "hooks", "stores" or "asks" for; or both "share" it. */
	private static function related( &$found, $own, $other, $facts ) {
		$wanted = array(
			'defines' => array_diff_key( array_intersect_key( $facts['code'], $own['said'] ), $own['code'] ),
			'shares'  => array_intersect_key( $facts['code'], $own['code'] ),
			'fires'   => array_diff_key( array_intersect_key( $facts['fires'], $own['said'] ), $own['fires'] ),
			'hooks'   => array_intersect_key( $facts['hooks'], $own['fires'] + $own['watches'] ),
			'stores'  => array_diff_key( array_intersect_key( $facts['stores'], $own['said'] ), $own['stores'] ),
			'asks'    => array_diff_key( array_intersect_key( $facts['asks'], $own['code'] + $own['fires'] ), $facts['code'] + $facts['fires'] ),
		);
		foreach ( $wanted as $how => $names ) {
			foreach ( $names as $name => $written ) {
				if ( strlen( $name ) > 3 && ! self::of_core( $how, $written ) ) {
					$found[ $how . ' ' . $name ][ $other ] = $written;
				}
			}
		}
	}

	private static function of_core( $how, $name ) {
		if ( isset( $GLOBALS['wp_filter'][ $name ] ) || isset( $GLOBALS['wp_actions'][ $name ] ) || isset( $GLOBALS['wp_filters'][ $name ] ) ) {
			return true;
		}
		if ( 'stores' === $how ) {
			return false !== strpos( self::CORE_OPTIONS, ' ' . strtolower( $name ) . ' ' );
		}
		return function_exists( $name ) || class_exists( $name, false ) || interface_exists( $name, false ) || defined( $name );
	}

	private static function rows( $found, $said ) {
		$rows = array();
		foreach ( $found as $key => $plugins ) {
			list( $how, $name ) = explode( ' ', $key, 2 );
			foreach ( count( $plugins ) > self::DEFINERS ? array() : $plugins as $other => $written ) {
				$near   = isset( $said[ $name ] ) ? $said[ $name ] : 0;
				$rows[] = array( 'plugin' => $other, 'name' => Wpaudit_Agent::text( $written ), 'how' => $how, 'near' => $near, 'others' => count( $plugins ) );
			}
		}
		usort(
			$rows,
			static function ( $one, $other ) {
				return $other['near'] - $one['near'] ? $other['near'] - $one['near'] : $one['others'] - $other['others'];
			}
		);
		return array_slice( $rows, 0, self::ROWS );
	}

	/* ---- code as text ------------------------------------------------------------------------- */

	/* What a text does with names: kind => lower-case name => as it is written. */
	private static function facts( $text ) {
		$facts     = array_fill_keys( array( 'code', 'fires', 'hooks', 'stores', 'watches', 'asks' ), array() );
		$namespace = '';
		foreach ( self::all( self::DECLARED, $text ) as $row ) {
			$what = strtolower( $row['what'] );
			if ( 'namespace' === $what ) {
				$namespace = trim( $row['name'], '\\' ) . '\\';
			} elseif ( in_array( $what, array( 'extends', 'implements', 'new', 'instanceof' ), true ) ) {
				self::add( $facts['asks'], $row['name'] );
			} elseif ( '' === $row['with'] || ! in_array( $what, array( 'function', 'const' ), true ) ) { // those are members
				self::add( $facts['code'], $namespace . $row['name'] );
			}
		}
		foreach ( self::all( self::CALLED, $text ) as $row ) {
			self::call( $facts, $row['what'], $row['first'], isset( $row['second'] ) ? $row['second'] : '' );
		}
		foreach ( self::all( self::USED, $text ) as $row ) {
			self::add( $facts['asks'], $row[1] );
		}
		return $facts;
	}

	private static function call( &$facts, $what, $first, $second ) {
		if ( 'define' === $what ) {
			self::add( $facts['code'], $first );
		} elseif ( preg_match( '/^(?:do_action|apply_filters)/', $what ) ) {
			self::add( $facts['fires'], $first );
		} elseif ( preg_match( '/option$|transient$/', $what ) ) {
			self::add( $facts['stores'], $first );
		} elseif ( 'register_setting' === $what ) {
			self::add( $facts['stores'], $second );
		} elseif ( preg_match( '/^add_/', $what ) ) {
			self::add( $facts['hooks'], $first );
			self::add( $facts['asks'], $second );
		} elseif ( preg_match( '/^(?:has|did|doing|remove)_/', $what ) ) {
			self::add( $facts['watches'], $first );
			self::add( $facts['asks'], $first );
			self::add( $facts['asks'], $second );
		} else {
			self::add( $facts['asks'], $first );
		}
	}

	private static function add( &$names, $written ) {
		if ( '' !== $written ) {
			$written                         = ltrim( str_replace( '\\\\', '\\', $written ), '\\' );
			$names[ self::name( $written ) ] = $written;
		}
	}

	private static function name( $written ) {
		return strtolower( ltrim( str_replace( '\\\\', '\\', $written ), '\\' ) );
	}

	/* All matches, one a row; none where PCRE gives up. */
	private static function all( $pattern, $text ) {
		$rows = array();
		return preg_match_all( $pattern, $text, $rows, PREG_SET_ORDER ) ? $rows : array();
	}

	/* Without comments, as far as a regular expression can tell. */
	private static function bare( $text ) {
		$bare = preg_replace( '~/\*.*?\*/|(?<![:\'"\\\\])//[^\n]*+|^\s*+#[^\n]*+~sm', ' ', $text );
		return is_string( $bare ) ? $bare : '';
	}

	/* ---- files --------------------------------------------------------------------------------- */

	/* Where to go on reading: files that are "ready", directories "below", how many entries are "left". */
	private static function files( $plugins, $number ) {
		$file = $plugins[ $number ];
		return array(
			'ready' => array( WP_PLUGIN_DIR . '/' . $file ),
			'below' => '.' === dirname( $file ) ? array() : array( WP_PLUGIN_DIR . '/' . dirname( $file ) ),
			'left'  => self::ENTRIES,
			'main'  => WP_PLUGIN_DIR . '/' . $file,
			'not'   => array_fill_keys( $plugins, true ), // main files of others in the same directory
		);
	}

	/* The next file of a plugin, null when there is none or the time is up. */
	private static function next( &$files ) {
		while ( microtime( true ) < self::$until && self::$bytes < self::BYTES ) {
			if ( $files['ready'] ) {
				return array_shift( $files['ready'] );
			}
			if ( ! $files['below'] ) {
				return null;
			}
			self::enter( $files, array_shift( $files['below'] ) );
		}
		self::$cut = true;
		return null;
	}

	private static function enter( &$files, $directory ) {
		$handle = @opendir( $directory );
		while ( $handle && $files['left'] > 0 && false !== ( $name = readdir( $handle ) ) ) {
			$files['left']--;
			$path = $directory . '/' . $name;
			if ( preg_match( self::SKIPPED, $name ) || is_link( $path ) ) {
				continue;
			}
			if ( is_dir( $path ) ) {
				$files['below'][] = $path;
			} elseif ( preg_match( '/\.(?:php|inc)$/i', $name ) && $path !== $files['main'] && ! isset( $files['not'][ substr( $path, strlen( WP_PLUGIN_DIR ) + 1 ) ] ) ) {
				$files['ready'][] = $path;
			}
		}
		$handle && closedir( $handle );
		sort( $files['ready'] );
	}

	private static function text( $path ) {
		if ( ! is_file( $path ) ) { // a pipe would never end
			return '';
		}
		$text = @file_get_contents( $path, false, null, 0, self::FILE );
		self::$files++;
		self::$bytes += strlen( (string) $text );
		return (string) $text;
	}
}
