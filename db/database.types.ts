// Made by supabase@3.1.0 (npm run types:database); test/db/types.test.ts compares it with the database.
// oxlint-disable typescript/no-redundant-type-constituents -- there are no composite types

export type Json = string | number | boolean | null | { [key: string]: Json | undefined } | Json[]

export type Database = {
  public: {
    Tables: {
      analysis_jobs: {
        Row: {
          completed_at: string | null
          created_at: string
          device_ids: string[]
          error_message: string | null
          id: string
          parameters: NonNullable<Json>
          queue_rank: number
          started_at: string | null
          status: Database['public']['Enums']['analysis_job_status']
          test_names: string[]
          time_range_end: string
          time_range_start: string
          user_id: string
        }
        ComputedFields: never
        Insert: {
          completed_at?: string | null
          created_at?: string
          device_ids?: string[]
          error_message?: string | null
          id?: string
          parameters?: NonNullable<Json>
          queue_rank?: number
          started_at?: string | null
          status?: Database['public']['Enums']['analysis_job_status']
          test_names: string[]
          time_range_end: string
          time_range_start: string
          user_id: string
        }
        Update: {
          completed_at?: string | null
          created_at?: string
          device_ids?: string[]
          error_message?: string | null
          id?: string
          parameters?: NonNullable<Json>
          queue_rank?: number
          started_at?: string | null
          status?: Database['public']['Enums']['analysis_job_status']
          test_names?: string[]
          time_range_end?: string
          time_range_start?: string
          user_id?: string
        }
        Relationships: [
          {
            foreignKeyName: 'analysis_jobs_user_id_fkey'
            columns: ['user_id']
            isOneToOne: false
            referencedRelation: 'profiles'
            referencedColumns: ['id']
          },
        ]
      }
      analysis_results: {
        Row: {
          created_at: string
          device_id: string | null
          id: string
          job_id: string
          metrics: NonNullable<Json>
          summary: NonNullable<Json>
          test_name: string
        }
        ComputedFields: never
        Insert: {
          created_at?: string
          device_id?: string | null
          id?: string
          job_id: string
          metrics: NonNullable<Json>
          summary: NonNullable<Json>
          test_name: string
        }
        Update: {
          created_at?: string
          device_id?: string | null
          id?: string
          job_id?: string
          metrics?: NonNullable<Json>
          summary?: NonNullable<Json>
          test_name?: string
        }
        Relationships: [
          {
            foreignKeyName: 'analysis_results_job_id_fkey'
            columns: ['job_id']
            isOneToOne: false
            referencedRelation: 'analysis_jobs'
            referencedColumns: ['id']
          },
        ]
      }
      chunk_analysis: {
        Row: {
          chunk_id: string
          created_at: string
          id: string
          metrics: NonNullable<Json>
          tests: NonNullable<Json>
        }
        ComputedFields: never
        Insert: {
          chunk_id: string
          created_at?: string
          id?: string
          metrics: NonNullable<Json>
          tests: NonNullable<Json>
        }
        Update: {
          chunk_id?: string
          created_at?: string
          id?: string
          metrics?: NonNullable<Json>
          tests?: NonNullable<Json>
        }
        Relationships: [
          {
            foreignKeyName: 'chunk_analysis_chunk_id_fkey'
            columns: ['chunk_id']
            isOneToOne: false
            referencedRelation: 'storj_chunks'
            referencedColumns: ['id']
          },
        ]
      }
      chunk_replicas: {
        Row: {
          backend: string
          bucket: string
          chunk_id: string
          kind: string
          object_key: string
          sha256: string
          size: number
          stored_at: string
          verified_at: string | null
        }
        ComputedFields: never
        Insert: {
          backend: string
          bucket: string
          chunk_id: string
          kind?: string
          object_key: string
          sha256: string
          size: number
          stored_at?: string
          verified_at?: string | null
        }
        Update: {
          backend?: string
          bucket?: string
          chunk_id?: string
          kind?: string
          object_key?: string
          sha256?: string
          size?: number
          stored_at?: string
          verified_at?: string | null
        }
        Relationships: [
          {
            foreignKeyName: 'chunk_replicas_chunk_id_fkey'
            columns: ['chunk_id']
            isOneToOne: false
            referencedRelation: 'storj_chunks'
            referencedColumns: ['id']
          },
        ]
      }
      chunk_slices: {
        Row: {
          chunk_id: string
          device_id: string
          partial: string
          slice_start: string
        }
        ComputedFields: never
        Insert: {
          chunk_id: string
          device_id: string
          partial: string
          slice_start: string
        }
        Update: {
          chunk_id?: string
          device_id?: string
          partial?: string
          slice_start?: string
        }
        Relationships: [
          {
            foreignKeyName: 'chunk_slices_chunk_id_fkey'
            columns: ['chunk_id']
            isOneToOne: false
            referencedRelation: 'storj_chunks'
            referencedColumns: ['id']
          },
        ]
      }
      coherence_events: {
        Row: {
          computed_at: string | null
          control_seed: string
          declared_at: string
          declared_before_start: boolean
          declared_by: string | null
          description: string | null
          device_ids: string[] | null
          event_end: string
          event_start: string
          hypothesis: string
          id: string
          method_version: string | null
          name: string
          profile: string
          result: Json | null
          status: string
          tail: string
          withdrawn_at: string | null
        }
        ComputedFields: never
        Insert: {
          computed_at?: string | null
          control_seed: string
          declared_at?: string
          declared_before_start?: boolean
          declared_by?: string | null
          description?: string | null
          device_ids?: string[] | null
          event_end: string
          event_start: string
          hypothesis: string
          id?: string
          method_version?: string | null
          name: string
          profile?: string
          result?: Json | null
          status?: string
          tail: string
          withdrawn_at?: string | null
        }
        Update: {
          computed_at?: string | null
          control_seed?: string
          declared_at?: string
          declared_before_start?: boolean
          declared_by?: string | null
          description?: string | null
          device_ids?: string[] | null
          event_end?: string
          event_start?: string
          hypothesis?: string
          id?: string
          method_version?: string | null
          name?: string
          profile?: string
          result?: Json | null
          status?: string
          tail?: string
          withdrawn_at?: string | null
        }
        Relationships: []
      }
      coherence_stats: {
        Row: {
          bucket_end: string
          bucket_start: string
          correlation_metrics: NonNullable<Json>
          created_at: string
          device_a_id: string
          device_b_id: string
          id: string
          method_version: string | null
          tests: NonNullable<Json>
        }
        ComputedFields: never
        Insert: {
          bucket_end: string
          bucket_start: string
          correlation_metrics: NonNullable<Json>
          created_at?: string
          device_a_id: string
          device_b_id: string
          id?: string
          method_version?: string | null
          tests?: NonNullable<Json>
        }
        Update: {
          bucket_end?: string
          bucket_start?: string
          correlation_metrics?: NonNullable<Json>
          created_at?: string
          device_a_id?: string
          device_b_id?: string
          id?: string
          method_version?: string | null
          tests?: NonNullable<Json>
        }
        Relationships: []
      }
      device_timeslice_stats: {
        Row: {
          autocorrelation: Json | null
          bucket_end: string
          bucket_start: string
          byte_count: number
          created_at: string
          device_id: string
          entropy_estimate: number | null
          extra: NonNullable<Json>
          id: string
          method_version: string | null
          runs_test: Json | null
          sample_count: number
          uniformity_chi_square: Json | null
        }
        ComputedFields: never
        Insert: {
          autocorrelation?: Json | null
          bucket_end: string
          bucket_start: string
          byte_count: number
          created_at?: string
          device_id: string
          entropy_estimate?: number | null
          extra?: NonNullable<Json>
          id?: string
          method_version?: string | null
          runs_test?: Json | null
          sample_count: number
          uniformity_chi_square?: Json | null
        }
        Update: {
          autocorrelation?: Json | null
          bucket_end?: string
          bucket_start?: string
          byte_count?: number
          created_at?: string
          device_id?: string
          entropy_estimate?: number | null
          extra?: NonNullable<Json>
          id?: string
          method_version?: string | null
          runs_test?: Json | null
          sample_count?: number
          uniformity_chi_square?: Json | null
        }
        Relationships: []
      }
      device_trials: {
        Row: {
          bucket_start: string
          device_id: string
          failed: number
          method_version: string
          profile: string
          reference_mean: number | null
          reference_trials: number | null
          reference_variance: number | null
          sum_z: number
          sum_z2: number
          trials: number
        }
        ComputedFields: never
        Insert: {
          bucket_start: string
          device_id: string
          failed: number
          method_version: string
          profile: string
          reference_mean?: number | null
          reference_trials?: number | null
          reference_variance?: number | null
          sum_z: number
          sum_z2: number
          trials: number
        }
        Update: {
          bucket_start?: string
          device_id?: string
          failed?: number
          method_version?: string
          profile?: string
          reference_mean?: number | null
          reference_trials?: number | null
          reference_variance?: number | null
          sum_z?: number
          sum_z2?: number
          trials?: number
        }
        Relationships: []
      }
      devices: {
        Row: {
          client_type: Database['public']['Enums']['device_client_type']
          created_at: string
          description: string | null
          device_token: string
          id: string
          last_seen_at: string | null
          name: string
          status: Database['public']['Enums']['device_status']
          user_id: string
        }
        ComputedFields: never
        Insert: {
          client_type?: Database['public']['Enums']['device_client_type']
          created_at?: string
          description?: string | null
          device_token: string
          id?: string
          last_seen_at?: string | null
          name: string
          status?: Database['public']['Enums']['device_status']
          user_id: string
        }
        Update: {
          client_type?: Database['public']['Enums']['device_client_type']
          created_at?: string
          description?: string | null
          device_token?: string
          id?: string
          last_seen_at?: string | null
          name?: string
          status?: Database['public']['Enums']['device_status']
          user_id?: string
        }
        Relationships: [
          {
            foreignKeyName: 'devices_user_id_fkey'
            columns: ['user_id']
            isOneToOne: false
            referencedRelation: 'profiles'
            referencedColumns: ['id']
          },
        ]
      }
      entropy_samples: {
        Row: {
          byte_length: number
          created_at: string
          device_id: string
          id: string
          profile_id: string
          sample_data: string
          sequence: number
          storj_chunk_id: string | null
          timestamp: string
        }
        ComputedFields: never
        Insert: {
          byte_length: number
          created_at?: string
          device_id: string
          id?: string
          profile_id: string
          sample_data: string
          sequence: number
          storj_chunk_id?: string | null
          timestamp?: string
        }
        Update: {
          byte_length?: number
          created_at?: string
          device_id?: string
          id?: string
          profile_id?: string
          sample_data?: string
          sequence?: number
          storj_chunk_id?: string | null
          timestamp?: string
        }
        Relationships: [
          {
            foreignKeyName: 'entropy_samples_device_id_fkey'
            columns: ['device_id']
            isOneToOne: false
            referencedRelation: 'device_activity'
            referencedColumns: ['device_id']
          },
          {
            foreignKeyName: 'entropy_samples_device_id_fkey'
            columns: ['device_id']
            isOneToOne: false
            referencedRelation: 'device_health'
            referencedColumns: ['device_id']
          },
          {
            foreignKeyName: 'entropy_samples_device_id_fkey'
            columns: ['device_id']
            isOneToOne: false
            referencedRelation: 'devices'
            referencedColumns: ['id']
          },
          {
            foreignKeyName: 'entropy_samples_device_id_profile_id_fkey'
            columns: ['device_id', 'profile_id']
            isOneToOne: false
            referencedRelation: 'sampling_profiles'
            referencedColumns: ['device_id', 'id']
          },
        ]
      }
      maintenance_log: {
        Row: {
          bytes_freed: number | null
          details: NonNullable<Json>
          duration_ms: number | null
          executed_at: string
          id: string
          operation_type: string
          rows_affected: number | null
          target_table: string
        }
        ComputedFields: never
        Insert: {
          bytes_freed?: number | null
          details?: NonNullable<Json>
          duration_ms?: number | null
          executed_at?: string
          id?: string
          operation_type: string
          rows_affected?: number | null
          target_table: string
        }
        Update: {
          bytes_freed?: number | null
          details?: NonNullable<Json>
          duration_ms?: number | null
          executed_at?: string
          id?: string
          operation_type?: string
          rows_affected?: number | null
          target_table?: string
        }
        Relationships: []
      }
      network_stats: {
        Row: {
          bucket_end: string
          bucket_start: string
          covar: NonNullable<Json>
          created_at: string
          device_count: number
          device_set_hash: string
          devvar: NonNullable<Json>
          max_abs_stouffer: number | null
          method_version: string
          netvar: NonNullable<Json>
          normalization: string
          pair: NonNullable<Json>
          profile: string
          sums: NonNullable<Json>
        }
        ComputedFields: never
        Insert: {
          bucket_end: string
          bucket_start: string
          covar: NonNullable<Json>
          created_at?: string
          device_count: number
          device_set_hash: string
          devvar: NonNullable<Json>
          max_abs_stouffer?: number | null
          method_version: string
          netvar: NonNullable<Json>
          normalization: string
          pair: NonNullable<Json>
          profile?: string
          sums: NonNullable<Json>
        }
        Update: {
          bucket_end?: string
          bucket_start?: string
          covar?: NonNullable<Json>
          created_at?: string
          device_count?: number
          device_set_hash?: string
          devvar?: NonNullable<Json>
          max_abs_stouffer?: number | null
          method_version?: string
          netvar?: NonNullable<Json>
          normalization?: string
          pair?: NonNullable<Json>
          profile?: string
          sums?: NonNullable<Json>
        }
        Relationships: []
      }
      profiles: {
        Row: {
          created_at: string
          email: string
          id: string
          role: Database['public']['Enums']['user_role']
          updated_at: string
        }
        ComputedFields: never
        Insert: {
          created_at?: string
          email: string
          id: string
          role?: Database['public']['Enums']['user_role']
          updated_at?: string
        }
        Update: {
          created_at?: string
          email?: string
          id?: string
          role?: Database['public']['Enums']['user_role']
          updated_at?: string
        }
        Relationships: []
      }
      sample_exports: {
        Row: {
          completed_at: string | null
          created_at: string
          device_id: string
          error_message: string | null
          files: NonNullable<Json>
          id: string
          links_expire_at: string | null
          queue_rank: number
          sample_count: number | null
          started_at: string | null
          status: Database['public']['Enums']['analysis_job_status']
          time_range_end: string
          time_range_start: string
          user_id: string
        }
        ComputedFields: never
        Insert: {
          completed_at?: string | null
          created_at?: string
          device_id: string
          error_message?: string | null
          files?: NonNullable<Json>
          id?: string
          links_expire_at?: string | null
          queue_rank?: number
          sample_count?: number | null
          started_at?: string | null
          status?: Database['public']['Enums']['analysis_job_status']
          time_range_end: string
          time_range_start: string
          user_id?: string
        }
        Update: {
          completed_at?: string | null
          created_at?: string
          device_id?: string
          error_message?: string | null
          files?: NonNullable<Json>
          id?: string
          links_expire_at?: string | null
          queue_rank?: number
          sample_count?: number | null
          started_at?: string | null
          status?: Database['public']['Enums']['analysis_job_status']
          time_range_end?: string
          time_range_start?: string
          user_id?: string
        }
        Relationships: [
          {
            foreignKeyName: 'sample_exports_device_id_fkey'
            columns: ['device_id']
            isOneToOne: false
            referencedRelation: 'device_activity'
            referencedColumns: ['device_id']
          },
          {
            foreignKeyName: 'sample_exports_device_id_fkey'
            columns: ['device_id']
            isOneToOne: false
            referencedRelation: 'device_health'
            referencedColumns: ['device_id']
          },
          {
            foreignKeyName: 'sample_exports_device_id_fkey'
            columns: ['device_id']
            isOneToOne: false
            referencedRelation: 'devices'
            referencedColumns: ['id']
          },
          {
            foreignKeyName: 'sample_exports_user_id_fkey'
            columns: ['user_id']
            isOneToOne: false
            referencedRelation: 'profiles'
            referencedColumns: ['id']
          },
        ]
      }
      sampling_profiles: {
        Row: {
          created_at: string
          device_id: string
          id: string
          is_active: boolean
          label: string
          metadata: NonNullable<Json>
          sample_rate_hz: number
          sample_size_bytes: number
          updated_at: string
        }
        ComputedFields: never
        Insert: {
          created_at?: string
          device_id: string
          id?: string
          is_active?: boolean
          label: string
          metadata?: NonNullable<Json>
          sample_rate_hz: number
          sample_size_bytes: number
          updated_at?: string
        }
        Update: {
          created_at?: string
          device_id?: string
          id?: string
          is_active?: boolean
          label?: string
          metadata?: NonNullable<Json>
          sample_rate_hz?: number
          sample_size_bytes?: number
          updated_at?: string
        }
        Relationships: [
          {
            foreignKeyName: 'sampling_profiles_device_id_fkey'
            columns: ['device_id']
            isOneToOne: false
            referencedRelation: 'device_activity'
            referencedColumns: ['device_id']
          },
          {
            foreignKeyName: 'sampling_profiles_device_id_fkey'
            columns: ['device_id']
            isOneToOne: false
            referencedRelation: 'device_health'
            referencedColumns: ['device_id']
          },
          {
            foreignKeyName: 'sampling_profiles_device_id_fkey'
            columns: ['device_id']
            isOneToOne: false
            referencedRelation: 'devices'
            referencedColumns: ['id']
          },
        ]
      }
      storj_chunks: {
        Row: {
          attempt: number
          bucket: string
          byte_count: number
          created_at: string
          device_ids: string[]
          format_version: number | null
          id: string
          last_error: string | null
          max_timestamp: string
          min_timestamp: string
          object_key: string
          sample_count: number
          sha256: string | null
          size_bytes: number
          slices_evicted_at: string | null
          status: Database['public']['Enums']['storj_chunk_status']
          updated_at: string
          uploaded_at: string | null
          verified_at: string | null
        }
        ComputedFields: never
        Insert: {
          attempt?: number
          bucket: string
          byte_count: number
          created_at?: string
          device_ids: string[]
          format_version?: number | null
          id?: string
          last_error?: string | null
          max_timestamp: string
          min_timestamp: string
          object_key: string
          sample_count: number
          sha256?: string | null
          size_bytes: number
          slices_evicted_at?: string | null
          status?: Database['public']['Enums']['storj_chunk_status']
          updated_at?: string
          uploaded_at?: string | null
          verified_at?: string | null
        }
        Update: {
          attempt?: number
          bucket?: string
          byte_count?: number
          created_at?: string
          device_ids?: string[]
          format_version?: number | null
          id?: string
          last_error?: string | null
          max_timestamp?: string
          min_timestamp?: string
          object_key?: string
          sample_count?: number
          sha256?: string | null
          size_bytes?: number
          slices_evicted_at?: string | null
          status?: Database['public']['Enums']['storj_chunk_status']
          updated_at?: string
          uploaded_at?: string | null
          verified_at?: string | null
        }
        Relationships: []
      }
      watched_pairs: {
        Row: {
          created_at: string
          device_a_id: string
          device_b_id: string
          user_id: string
        }
        ComputedFields: never
        Insert: {
          created_at?: string
          device_a_id: string
          device_b_id: string
          user_id?: string
        }
        Update: {
          created_at?: string
          device_a_id?: string
          device_b_id?: string
          user_id?: string
        }
        Relationships: [
          {
            foreignKeyName: 'watched_pairs_device_a_id_fkey'
            columns: ['device_a_id']
            isOneToOne: false
            referencedRelation: 'device_activity'
            referencedColumns: ['device_id']
          },
          {
            foreignKeyName: 'watched_pairs_device_a_id_fkey'
            columns: ['device_a_id']
            isOneToOne: false
            referencedRelation: 'device_health'
            referencedColumns: ['device_id']
          },
          {
            foreignKeyName: 'watched_pairs_device_a_id_fkey'
            columns: ['device_a_id']
            isOneToOne: false
            referencedRelation: 'devices'
            referencedColumns: ['id']
          },
          {
            foreignKeyName: 'watched_pairs_device_b_id_fkey'
            columns: ['device_b_id']
            isOneToOne: false
            referencedRelation: 'device_activity'
            referencedColumns: ['device_id']
          },
          {
            foreignKeyName: 'watched_pairs_device_b_id_fkey'
            columns: ['device_b_id']
            isOneToOne: false
            referencedRelation: 'device_health'
            referencedColumns: ['device_id']
          },
          {
            foreignKeyName: 'watched_pairs_device_b_id_fkey'
            columns: ['device_b_id']
            isOneToOne: false
            referencedRelation: 'devices'
            referencedColumns: ['id']
          },
          {
            foreignKeyName: 'watched_pairs_user_id_fkey'
            columns: ['user_id']
            isOneToOne: false
            referencedRelation: 'profiles'
            referencedColumns: ['id']
          },
        ]
      }
    }
    Views: {
      chunk_backlog: {
        Row: {
          bytes: number | null
          device_id: string
          oldest: string | null
          samples: number | null
        }
        ComputedFields: never
        Relationships: [
          {
            foreignKeyName: 'entropy_samples_device_id_fkey'
            columns: ['device_id']
            isOneToOne: false
            referencedRelation: 'device_activity'
            referencedColumns: ['device_id']
          },
          {
            foreignKeyName: 'entropy_samples_device_id_fkey'
            columns: ['device_id']
            isOneToOne: false
            referencedRelation: 'device_health'
            referencedColumns: ['device_id']
          },
          {
            foreignKeyName: 'entropy_samples_device_id_fkey'
            columns: ['device_id']
            isOneToOne: false
            referencedRelation: 'devices'
            referencedColumns: ['id']
          },
        ]
      }
      device_activity: {
        Row: {
          bucket_start: string | null
          byte_count: number | null
          device_id: string
          entropy_estimate: number | null
          last_seen_at: string | null
          name: string
          sample_count: number | null
          seconds_covered: number | null
          status: Database['public']['Enums']['device_status']
        }
        ComputedFields: never
        Relationships: []
      }
      device_health: {
        Row: {
          bucket_end: string | null
          bucket_start: string | null
          byte_count: number | null
          device_id: string
          entropy_estimate: number | null
          frequency: Json | null
          last_seen_at: string | null
          name: string
          runs_test: Json | null
          sample_count: number | null
          status: Database['public']['Enums']['device_status']
          uniformity_chi_square: Json | null
        }
        ComputedFields: never
        Relationships: []
      }
      pipeline_health: {
        Row: {
          chunks_with_errors: number | null
          failed_chunks: number | null
          last_prune: string | null
          last_upload: string | null
          last_verification: string | null
          oldest_waiting: string | null
          pending_chunks: number | null
          queued_analyses: number | null
          running_analyses: number | null
          unverified_chunks: number | null
          uploading_chunks: number | null
          verified_chunks: number | null
          waiting_samples: number | null
        }
        ComputedFields: never
        Relationships: []
      }
    }
    Functions: {
      authenticate_device: {
        Args: { device_token: string }
        Returns: {
          device_id: string
          profiles: Json
          token_id: string
        }[]
      }
      cancel_analysis_job: { Args: { job_id: string }; Returns: boolean }
      insert_entropy_sample: {
        Args: { device_id: string; profile_id: string; sample_data: string; sequence: number; timestamp?: string }
        Returns: string
      }
      insert_entropy_samples: {
        Args: {
          device_id: string
          payloads: string[]
          profile_ids: string[]
          sequences: number[]
          timestamps: string[]
        }
        Returns: Json
      }
      network_deviation: {
        Args: {
          bucket?: string
          range_end: string
          range_start: string
          score_normalization?: string
          trial_profile?: string
        }
        Returns: {
          bucket_end: string
          bucket_start: string
          netvar_deviation: number
          netvar_pointwise_95: number
          pair_deviation: number
          pair_pointwise_95: number
          seconds: number
        }[]
      }
      revoke_device_token: { Args: { device_id: string }; Returns: undefined }
      rotate_device_token: { Args: { device_id: string }; Returns: string }
    }
    Enums: {
      analysis_job_status: 'queued' | 'running' | 'completed' | 'failed'
      device_client_type: 'raspi' | 'android' | 'ios' | 'linux' | 'unknown'
      device_status: 'active' | 'inactive' | 'error'
      storj_chunk_status: 'pending' | 'uploading' | 'uploaded' | 'failed'
      user_role: 'user' | 'admin'
    }
    CompositeTypes: {
      [_ in never]: never
    }
  }
}

type DatabaseWithoutInternals = Omit<Database, '__InternalSupabase'>

type DefaultSchema = DatabaseWithoutInternals[Extract<keyof Database, 'public'>]

export type Tables<
  DefaultSchemaTableNameOrOptions extends
    | keyof (DefaultSchema['Tables'] & DefaultSchema['Views'])
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends (DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof (DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions['schema']]['Tables'] &
        DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions['schema']]['Views'])
    : never) = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? (DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions['schema']]['Tables'] &
      DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions['schema']]['Views'])[TableName] extends {
      Row: infer R
    }
    ? R
    : never
  : DefaultSchemaTableNameOrOptions extends keyof (DefaultSchema['Tables'] & DefaultSchema['Views'])
    ? (DefaultSchema['Tables'] & DefaultSchema['Views'])[DefaultSchemaTableNameOrOptions] extends {
        Row: infer R
      }
      ? R
      : never
    : never

export type TablesInsert<
  DefaultSchemaTableNameOrOptions extends keyof DefaultSchema['Tables'] | { schema: keyof DatabaseWithoutInternals },
  TableName extends (DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions['schema']]['Tables']
    : never) = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions['schema']]['Tables'][TableName] extends {
      Insert: infer I
    }
    ? I
    : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema['Tables']
    ? DefaultSchema['Tables'][DefaultSchemaTableNameOrOptions] extends {
        Insert: infer I
      }
      ? I
      : never
    : never

export type TablesUpdate<
  DefaultSchemaTableNameOrOptions extends keyof DefaultSchema['Tables'] | { schema: keyof DatabaseWithoutInternals },
  TableName extends (DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions['schema']]['Tables']
    : never) = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions['schema']]['Tables'][TableName] extends {
      Update: infer U
    }
    ? U
    : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema['Tables']
    ? DefaultSchema['Tables'][DefaultSchemaTableNameOrOptions] extends {
        Update: infer U
      }
      ? U
      : never
    : never

export type Enums<
  DefaultSchemaEnumNameOrOptions extends keyof DefaultSchema['Enums'] | { schema: keyof DatabaseWithoutInternals },
  EnumName extends (DefaultSchemaEnumNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions['schema']]['Enums']
    : never) = never,
> = DefaultSchemaEnumNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions['schema']]['Enums'][EnumName]
  : DefaultSchemaEnumNameOrOptions extends keyof DefaultSchema['Enums']
    ? DefaultSchema['Enums'][DefaultSchemaEnumNameOrOptions]
    : never

export type CompositeTypes<
  PublicCompositeTypeNameOrOptions extends
    | keyof DefaultSchema['CompositeTypes']
    | { schema: keyof DatabaseWithoutInternals },
  CompositeTypeName extends (PublicCompositeTypeNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions['schema']]['CompositeTypes']
    : never) = never,
> = PublicCompositeTypeNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions['schema']]['CompositeTypes'][CompositeTypeName]
  : PublicCompositeTypeNameOrOptions extends keyof DefaultSchema['CompositeTypes']
    ? DefaultSchema['CompositeTypes'][PublicCompositeTypeNameOrOptions]
    : never

export const Constants = {
  public: {
    Enums: {
      analysis_job_status: ['queued', 'running', 'completed', 'failed'],
      device_client_type: ['raspi', 'android', 'ios', 'linux', 'unknown'],
      device_status: ['active', 'inactive', 'error'],
      storj_chunk_status: ['pending', 'uploading', 'uploaded', 'failed'],
      user_role: ['user', 'admin'],
    },
  },
} as const
